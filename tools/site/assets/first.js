// Before the first paint: the theme that was chosen, or the system's.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let kept = null;
  try { kept = localStorage.getItem("rlhf-theme"); } catch { /* a browser that keeps nothing */ }
  const show = () => { document.body.dataset.theme = kept ?? (dark.matches ? "dark" : "light"); };
  dark.addEventListener("change", show);
  show();
})();
