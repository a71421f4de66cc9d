"use strict";
// A click on a heading sorts its table; a field above a long table filters its rows.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  if (!table.tHead || !body || body.rows.length < 2) continue;
  const rows = [...body.rows];
  const value = (row, column) => {
    const text = row.cells[column] ? row.cells[column].textContent.trim() : "";
    const found = /^[−-]?\d[\d ]*(\.\d+)?(e[−-]?\d+)?(?![\d:-])/.exec(text);
    return found ? Number(found[0].replace(/−/g, "-").replace(/ /g, "")) : text.toLowerCase();
  };
  const heads = [...table.tHead.querySelectorAll("th[scope=col]")];
  heads.forEach((head, place) => {
    const column = Number(head.dataset.col || place);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    if (!button.textContent.trim()) button.setAttribute("aria-label", "Remarks");
    if (head.title) { button.title = head.title; head.removeAttribute("title"); }
    head.append(button);
    button.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const sorted = [...rows].sort((one, two) => {
        const [a, b] = [value(one, column), value(two, column)];
        if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
        const order = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
        return falling ? -order : order;
      });
      body.append(...sorted);
    });
  });
  if (rows.length < 13) continue;
  const label = document.createElement("label");
  label.className = "filter";
  const input = document.createElement("input");
  input.type = "search";
  const said = document.createElement("span");
  said.setAttribute("role", "status");
  label.append("Show rows with ", input);
  const place = table.closest(".scroll") || table;
  place.before(label);
  label.after(said);
  said.className = "filter-count";
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      count += !row.hidden;
    }
    said.textContent = words.length ? `${count} of ${rows.length} rows` : "";
  });
}
