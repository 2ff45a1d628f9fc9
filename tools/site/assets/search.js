"use strict";

// Search without a server: every word that is sought begins a word of the section.
{
  const box = document.getElementById("search"), field = document.getElementById("sought");
  const list = document.getElementById("results"), told = document.getElementById("found");
  const MOST = 12, AROUND = 70;
  let index = null;

  const fold = text => text.toLowerCase().normalize("NFD").replace(/\p{M}/gu, "");
  const load = () => new Promise((loaded, failed) => {
    if (window.searchIndex) return loaded();
    const script = document.createElement("script");
    Object.assign(script, { src: "assets/search-index.js", onload: loaded, onerror: failed });
    document.head.append(script);
  });
  const prepare = () => {
    index ??= window.searchIndex.entries.map(entry => ({ ...entry, folded:
      ["head", "page", "text", "code"].map(part => fold(entry[part])) }));
  };
  // A pattern for each word; a Greek letter is found by its name, too.
  const patterns = query => fold(query).split(/\s+/).filter(Boolean).map(word => {
    const letter = window.searchIndex.greek[word];
    const safe = word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    return new RegExp(`(?<![\\p{L}\\p{N}])(?:${letter ? `${letter}|` : ""}${safe})`, "gu");
  });
  const WEIGHT = [20, 8, 1, 0.5];
  const score = (entry, words) => {
    let sum = 0;
    for (const word of words) {
      const points = entry.folded.map((text, i) =>
        WEIGHT[i] * Math.min(5, (text.match(word) ?? []).length));
      const most = points.reduce((a, b) => a + b);
      if (!most) return 0;
      sum += most;
    }
    return sum;
  };
  // The words around the first place, those that were sought set apart.
  const excerpt = (entry, words) => {
    const line = document.createElement("p");
    const part = words.some(word => entry.folded[2].search(word) >= 0) ? "text" : "code";
    const text = entry[part], folded = fold(text);
    // Where letters have lost their marks, places may differ: then no place is shown.
    if (folded.length !== text.length) return line;
    const first = Math.min(...words.map(word => folded.search(word)).filter(at => at >= 0));
    if (!Number.isFinite(first)) { line.textContent = text.slice(0, 2 * AROUND); return line; }
    const from = first < AROUND ? 0 : text.lastIndexOf(" ", first - AROUND) + 1;
    const to = Math.min(text.length, first + 2 * AROUND);
    const places = words.flatMap(word => [...folded.slice(from, to).matchAll(word)])
      .map(found => [found.index, found.index + found[0].length]).sort((a, b) => a[0] - b[0]);
    let at = 0;
    const shown = text.slice(from, to);
    if (from) line.append("… ");
    for (const [start, end] of places) {
      if (start < at) continue;
      const mark = document.createElement("mark");
      mark.textContent = shown.slice(start, end);
      line.append(shown.slice(at, start), mark);
      at = end;
    }
    line.append(shown.slice(at), to < text.length ? " …" : "");
    return line;
  };
  const show = () => {
    const words = patterns(field.value);
    list.replaceChildren();
    if (!words.length) { told.textContent = ""; return; }
    prepare();
    const found = index.map(entry => [score(entry, words), entry]).filter(([points]) => points)
      .sort((a, b) => b[0] - a[0]);
    told.textContent = found.length === 0 ? `Nothing has “${field.value.trim()}”.`
      : `${found.length} section${found.length > 1 ? "s" : ""}` +
        (found.length > MOST ? `, the best ${MOST} of them` : "");
    for (const [, entry] of found.slice(0, MOST)) {
      const item = document.createElement("li"), link = document.createElement("a");
      link.href = entry.to;
      link.textContent = entry.head ? `${entry.page} › ${entry.head}` : entry.page;
      link.addEventListener("click", () => box.close());
      item.append(link, excerpt(entry, words));
      list.append(item);
    }
  };
  const open = async () => {
    if (box.open) return;
    box.showModal();
    field.select();
    await load();
    show();
  };
  document.getElementById("open-search").addEventListener("click", open);
  document.addEventListener("keydown", event => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      open();
    }
  });
  field.addEventListener("input", () => window.searchIndex && show());
  box.addEventListener("keydown", event => {
    const links = [field, ...list.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    if (event.key === "Escape") {  // which else only empties the field
      event.preventDefault();
      box.close();
    } else if (event.key === "Enter" && document.activeElement === field) {
      event.preventDefault();
      links[1]?.click();
    } else if (at >= 0 && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      links[Math.max(0, Math.min(links.length - 1, at + (event.key === "ArrowDown" ? 1 : -1)))]
        .focus();
    }
  });
  box.addEventListener("click", event => event.target === box && box.close());
}
