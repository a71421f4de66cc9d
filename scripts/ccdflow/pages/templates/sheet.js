"use strict";
// The contact sheet: sorts and filters the frames, and opens one of them large.
{
  const frames = JSON.parse(document.getElementById("sheet-data").textContent);
  const list = document.getElementById("sheet-tiles");
  const tiles = [...list.children];
  const large = document.getElementById("large");
  const by = (name) => document.getElementById(`large-${name}`);
  let scale = "asinh", state = "calibrated", now = 0;

  const press = (buttons, chosen) => {
    for (const each of buttons) each.setAttribute("aria-pressed", String(each === chosen));
  };
  const choices = document.getElementById("sheet-choices");
  choices.hidden = false;
  choices.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    press(button.parentNode.children, button);
    if ("order" in button.dataset) {
      const sorted = [...tiles];
      if (button.dataset.order === "type") sorted.sort((a, b) => a.dataset.place - b.dataset.place);
      list.append(...sorted);
    } else {
      const only = button.dataset.only;
      for (const tile of tiles) {
        const own = only === "odd" ? tile.classList.contains("odd") : tile.dataset.kind === only;
        tile.hidden = only !== "" && !own;
      }
    }
  });

  // The numbers of the visible frames, in the order in which the arrow keys open them.
  const inOrder = () => [...list.children].filter((tile) => !tile.hidden)
    .map((tile) => tile.querySelector("[data-open]")).filter(Boolean)
    .map((button) => Number(button.dataset.open));

  const shade = ([, , , , centre, unit, low, high, zscale]) => {
    const last = 255, value = (part) => centre + unit * Math.sinh(low + part * (high - low));
    const [from, to] = scale === "zscale" ? zscale : [value(0), value(1)];
    const table = [];
    for (let grey = 0; grey <= last; grey++) {
      const seen = (value((grey - 1) / 254) - from) / ((to - from) || 1);
      table.push(Math.min(1, Math.max(0, seen)).toFixed(4));
    }
    for (const name of ["R", "G", "B"]) {
      document.querySelector(`#shades feFunc${name}`).setAttribute("tableValues", table.join(" "));
    }
  };
  // Four digits, but all digits before the point: 65535 is not shown as 65540.
  const figure = (number) => String(Number(
    Math.abs(number) < 1000 ? number.toPrecision(4) : number.toFixed(0))).replace("-", "−");

  const show = () => {
    const [file, states] = frames[now];
    const found = states.find((each) => each[1] === state) || states[0];
    const [path, what, product, unit, centre, size, low, high, zscale] = found;
    const limits = scale === "zscale" ? zscale : [low, high].map((v) => centre + size * Math.sinh(v));
    by("name").textContent = file;
    const tile = list.querySelector(`[data-open="${now}"]`);
    const marks = [...tile.querySelectorAll(".mark, .note")].map((m) => `${m.textContent}: ${m.title}`);
    by("what").textContent = [
      tile.querySelector(".what").textContent, what,
      `${scale} from ${figure(limits[0])} to ${figure(limits[1])} ${unit === "electron" ? "electrons" : unit}`, ...marks,
    ].join("; ");
    const picture = by("picture");
    picture.src = path;
    picture.alt = `${file}, ${what}`;
    const small = tile.querySelector("img");
    picture.style.setProperty("--shape", small.getAttribute("width") / small.getAttribute("height"));
    picture.style.filter = scale === "asinh" ? "" : "url(#shades)";
    if (scale !== "asinh") shade(found);
    by("link").href = product;
    for (const each of by("scales").children) {
      each.setAttribute("aria-pressed", String(each.dataset.scale === scale));
    }
    for (const each of by("states").children) {
      each.setAttribute("aria-pressed", String(each.dataset.state === what));
      each.disabled = !states.some((other) => other[1] === each.dataset.state);
    }
  };
  const step = (by) => {
    const order = inOrder();
    if (!order.length) return;
    now = order[(Math.max(0, order.indexOf(now)) + by + order.length) % order.length];
    show();
  };

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-open]");
    if (!opener) return;
    now = Number(opener.dataset.open);
    show();
    if (!large.open) large.showModal();
  });
  const back = () => {
    const tile = list.querySelector(`[data-open="${now}"]`);
    if (tile) tile.focus();
  };
  const shut = () => { large.close(); back(); };
  by("close").addEventListener("click", shut);
  large.addEventListener("click", (event) => { if (event.target === large) shut(); });
  large.addEventListener("close", back);
  by("before").addEventListener("click", () => step(-1));
  by("next").addEventListener("click", () => step(1));
  by("scales").addEventListener("click", (event) => {
    if (event.target.dataset.scale) { scale = event.target.dataset.scale; show(); }
  });
  by("states").addEventListener("click", (event) => {
    if (event.target.dataset.state) { state = event.target.dataset.state; show(); }
  });
  large.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const key = event.key.toLowerCase();
    const scales = { a: "asinh", z: "zscale", l: "linear" };
    if (key === "arrowright") step(1);
    else if (key === "arrowleft") step(-1);
    else if (scales[key]) { scale = scales[key]; show(); }
    else if (key === "c") { state = state === "calibrated" ? "reduced" : "calibrated"; show(); }
    else return;
    event.preventDefault();
  });
}
