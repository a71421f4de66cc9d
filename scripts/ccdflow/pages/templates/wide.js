"use strict";
// A table or picture wider than the window gets a line above it, and fades at its hidden end.
{
  const look = (box) => {
    const rest = box.scrollWidth - box.clientWidth;
    const sign = box.previousElementSibling;
    sign.hidden = rest <= 1;
    box.classList.toggle("on-left", rest > 1 && box.scrollLeft > 1);
    box.classList.toggle("on-right", rest > 1 && box.scrollLeft < rest - 1);
  };
  const watch = new ResizeObserver((entries) => entries.forEach((each) => look(each.target)));
  for (const box of document.querySelectorAll(".scroll, .drawing")) {
    const sign = document.createElement("p");
    sign.className = "wider";
    sign.setAttribute("aria-hidden", "true");
    box.before(sign);
    look(box);
    box.addEventListener("scroll", () => look(box), { passive: true });
    watch.observe(box);
  }
}
