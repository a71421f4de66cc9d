"use strict";
// Shows the products of the last run and their disk space, which a script beside the overview has.
{
  const told = window.ccdflowLastRun;
  const place = document.getElementById("last-run");
  const add = (parent, name, text) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  };
  const table = (heads, rows) => {
    const scroll = add(place, "div");
    scroll.className = "scroll";
    const made = add(scroll, "table");
    const head = add(add(made, "thead"), "tr");
    for (const [text, title] of heads) {
      const cell = add(head, "th", text);
      cell.scope = "col";
      cell.title = title;
    }
    const body = add(made, "tbody");
    for (const row of rows) {
      const line = add(body, "tr");
      row.forEach((text, number) => {
        const cell = add(line, number ? "td" : "th", String(text));
        if (!number) cell.scope = "row";
        if (typeof text === "number") cell.className = "number";
        if (typeof text === "number") head.cells[number].className = "number";
      });
    }
  };
  if (told) {
    place.textContent = "";
    add(place, "p", `The last run that had something to do ended on ${told.ended}` +
      (told.failed.length ? `; ${told.failed.length} job${told.failed.length === 1 ? "" : "s"} failed.`
        : "; no job failed."));
    table(
      [["Products", "Kind of product"], ["Number", "Number of jobs"], ["Why", "Why they were made"]],
      told.made,
    );
    if (told.failed.length) {
      table([["Failed", "Product"], ["Reason", "Why it was not made"]], told.failed);
    }
    // Megabytes to a tenth; less than a tenth to the first digit, because 0 would say "no bytes".
    const megabytes = (bytes) => Number(bytes < 1e5 ? (bytes / 1e6).toPrecision(1) : (bytes / 1e6).toFixed(1));
    const all = told.disk.reduce((sum, line) => sum + line[2], 0);
    add(place, "p", `The products take ${megabytes(all)} MB of disk, small pictures not counted.`);
    table(
      [["Folder", "Below the results folder"], ["Files", "Number of products"],
        ["MB", "Megabytes"]],
      told.disk.map(([folder, files, bytes]) => [
        folder === "." ? "tables and overview" : folder, files, megabytes(bytes),
      ]),
    );
  }
}
