"use strict";

// Panels that move: their scripts are loaded when a reader comes near the first one.
(() => {
  const panels = [...document.querySelectorAll(".panel")];
  const scripts = JSON.parse(document.body.dataset.alive || "[]");
  if (!panels.length || !scripts.length) return;
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
  panels.forEach(panel => near.observe(panel));
})();
