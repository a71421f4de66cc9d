"use strict";
// The Tab key stops once in each year of the calendar; arrow keys go from night to night.
for (const year of document.querySelectorAll(".months")) {
  const nights = [...year.querySelectorAll("a")];
  const stop = (night) => { for (const each of nights) each.tabIndex = each === night ? 0 : -1; };
  stop(nights[0]);
  year.addEventListener("focusin", (event) => stop(event.target));
  year.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const last = nights.length - 1;
    const here = nights.indexOf(event.target);
    const goals = { ArrowRight: here + 1, ArrowDown: here + 7, ArrowLeft: here - 1,
      ArrowUp: here - 7, Home: 0, End: last };
    if (!(event.key in goals)) return;
    event.preventDefault();
    nights[Math.min(Math.max(goals[event.key], 0), last)].focus();
  });
}
