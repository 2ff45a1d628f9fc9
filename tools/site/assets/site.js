"use strict";

const keep = (name, value) => {
  try { localStorage.setItem(name, value); return true; } catch { return false; }
};
const kept = name => {
  try { return localStorage.getItem(name); } catch { return null; }
};

// The theme, by a button that says which one it turns on.
{
  const button = document.getElementById("theme");
  const tell = () => button.setAttribute("aria-pressed", document.body.dataset.theme === "dark");
  button.addEventListener("click", () => {
    document.body.dataset.theme = document.body.dataset.theme === "dark" ? "light" : "dark";
    keep("rlhf-theme", document.body.dataset.theme);
  });
  new MutationObserver(tell).observe(document.body, { attributeFilter: ["data-theme"] });
  tell();
}

// On a narrow screen the table of contents is folded at first.
{
  const contents = document.querySelector(".contents");
  if (contents && matchMedia("(max-width: 68rem)").matches) contents.open = false;
}

// All code at once, for this page and the next ones.
{
  const button = document.getElementById("all-code");
  const blocks = document.querySelectorAll("details.code");
  const show = open => {
    blocks.forEach(block => { block.open = open; });
    button.setAttribute("aria-pressed", open);
  };
  button?.addEventListener("click", () => {
    const open = button.getAttribute("aria-pressed") !== "true";
    show(open);
    keep("rlhf-code", open ? "open" : "folded");
  });
  if (button && kept("rlhf-code") === "open") show(true);
}

// On paper nothing is folded; what a link leads to is not, either.
{
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach(block => { block.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach(block => { block.open = false; }));
}

// What is wider than the screen is moved by keys, too.
{
  const reach = new ResizeObserver(changed => {
    for (const { target } of changed)
      if (target.scrollWidth > target.clientWidth) {
        target.tabIndex = 0;
        target.setAttribute("role", "region");
        target.setAttribute("aria-label", "Wider than the screen");
      } else ["tabindex", "role", "aria-label"].forEach(name => target.removeAttribute(name));
  });
  document.querySelectorAll(".scroll").forEach(block => reach.observe(block));
}

// Panels that move: their scripts are loaded when a reader comes near the first one.
{
  const panels = [...document.querySelectorAll(".panel")];
  const scripts = JSON.parse(document.body.dataset.alive || "[]");
  const load = address => new Promise((loaded, failed) => {
    const script = document.createElement("script");
    Object.assign(script, { src: address, onload: loaded, onerror: failed });
    document.head.append(script);
  });
  const wake = async () => {
    for (const address of scripts) await load(address);
    for (const panel of panels)
      if (window.rlhfAlive(panel)) panel.classList.add("is-alive");
  };
  const near = new IntersectionObserver(seen => {
    if (!seen.some(entry => entry.isIntersecting)) return;
    near.disconnect();
    wake();
  }, { rootMargin: "1200px" });
  if (scripts.length) panels.forEach(panel => near.observe(panel));
}
