"use strict";

// What a term or a symbol means, on hover and on focus. `window.glossary` is in terms.js.
{
  const terms = window.glossary;
  const bySymbol = new Map(Object.values(terms).filter(t => t.symbol).map(t => [t.symbol, t]));
  const tip = Object.assign(document.createElement("div"), { id: "tip", hidden: true });
  tip.setAttribute("role", "tooltip");
  document.body.append(tip);
  let owner = null, leaving = 0;

  // Upright letters are no symbols of ours.
  const symbolOf = node => node.matches?.("mi, msub") && !node.getAttribute("mathvariant")
    ? bySymbol.get(node.textContent) : undefined;
  const termAt = node => {
    if (!(node instanceof Element)) return [];
    const link = node.closest(".term");
    if (link) return [link, terms[link.dataset.term]];
    // The larger symbol first: θ0 before θ.
    const parts = [node.closest("msub"), node.closest("mi")].filter(Boolean);
    const part = parts.find(symbolOf);
    return part ? [part, symbolOf(part)] : [];
  };
  const hide = () => {
    owner?.removeAttribute("aria-describedby");
    owner = null;
    tip.hidden = true;
  };
  const show = (node, term) => {
    clearTimeout(leaving);
    if (owner === node) return;
    hide();
    owner = node;
    const name = document.createElement("strong");
    name.textContent = term.symbol ? `${term.name} ${term.symbol}` : term.name;
    const where = Object.assign(document.createElement("a"),
      { href: term.page, textContent: `Notebook ${term.notebook}` });
    tip.replaceChildren(name, ` ${term.meaning} `, where);
    tip.hidden = false;
    node.setAttribute("aria-describedby", "tip");
    const box = node.getBoundingClientRect(), size = tip.getBoundingClientRect();
    const left = Math.max(8, Math.min(box.left, document.documentElement.clientWidth - size.width - 8));
    const above = box.top - size.height - 6;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(above > 60 ? above : box.bottom + 6) + scrollY}px`;
  };
  // A moment to move the pointer onto the tip itself.
  const leave = () => { clearTimeout(leaving); leaving = setTimeout(hide, 250); };
  document.addEventListener("pointerover", event => {
    if (tip.contains(event.target)) { clearTimeout(leaving); return; }
    const [node, term] = termAt(event.target);
    if (term) show(node, term); else if (owner && owner !== document.activeElement) leave();
  });
  document.addEventListener("focusin", event => {
    const [node, term] = termAt(event.target);
    if (term) show(node, term); else if (!tip.contains(event.target)) hide();
  });
  document.addEventListener("focusout", event => {
    if (!tip.contains(event.relatedTarget)) leave();
  });
  document.addEventListener("keydown", event => event.key === "Escape" && hide());
  // Under a finger the first touch tells, the second follows the link.
  let touched = null;
  document.addEventListener("click", event => {
    const link = event.target.closest?.(".term");
    if (link && event.pointerType === "touch" && touched !== link) event.preventDefault();
    touched = link;
  });
  // The first use of each symbol in a page's formulas can be reached by keys.
  const reached = new Set();
  for (const node of document.querySelectorAll("article msub, article mi")) {
    const term = symbolOf(node);
    if (!term || reached.has(term)) continue;
    reached.add(term);
    node.setAttribute("tabindex", "0");
    node.classList.add("symbol");
  }
}
