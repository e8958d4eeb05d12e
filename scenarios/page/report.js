// A line at the same moment in all pictures, and what was so then; by pointer, or by the arrow keys in a picture.
"use strict";
(() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const note = document.getElementById("cursor");
  const strips = [...document.querySelectorAll("svg.strip")];
  const lines = strips.map((strip) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.setAttribute("class", "now");
    line.setAttribute("y1", 0);
    line.setAttribute("y2", strip.viewBox.baseVal.height - 22);
    line.style.display = "none";
    strip.append(line);
    return line;
  });
  let moment = 0;

  const hide = () => {
    note.style.display = "none";
    for (const line of lines) line.style.display = "none";
  };
  const amount = (value) => (value >= 1e6 ? `${(value / 1e6).toFixed(1)} MB` : value >= 1e3 ? `${(value / 1e3).toFixed(1)} KB` : `${value} B`);
  const show = (strip, at, y) => {
    moment = Math.min(facts.span, Math.max(0, at));
    const x = facts.left + (facts.long * moment) / facts.span;
    for (const line of lines) {
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
      line.style.display = "";
    }
    const found = facts.samples.find((sample) => sample[0] >= moment) ?? facts.samples.at(-1);
    const said = found ? ` · ${found[1]} up, ${found[2]} thought alive · led by ${found[3]} · ${amount(found[4])}/s` : "";
    note.textContent = `${moment.toFixed(facts.span < 300 ? 2 : 0)} s${said}`;
    note.style.display = "block";
    const box = strip.getBoundingClientRect();
    const left = box.left + (x / facts.wide) * box.width;
    note.style.left = `${Math.max(4, Math.min(left + 14, innerWidth - note.offsetWidth - 8))}px`;
    note.style.top = `${Math.max(4, y - 38)}px`;
  };
  for (const strip of strips) {
    strip.addEventListener("pointermove", (event) => {
      const box = strip.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * facts.wide;
      if (x < facts.left - 4) hide();
      else show(strip, ((x - facts.left) / facts.long) * facts.span, event.clientY);
    });
    strip.addEventListener("pointerleave", hide);
    strip.addEventListener("blur", hide);
    strip.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      show(strip, moment + (step * facts.span) / (event.shiftKey ? 20 : 200), strip.getBoundingClientRect().top + 30);
    });
  }
})();
