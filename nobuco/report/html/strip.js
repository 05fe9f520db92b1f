// One stop for the tabulator, and arrows within, where there would be hundreds of links.
for (const strip of document.querySelectorAll(".bars")) {
  const bars = [...strip.children];
  const start = Math.max(bars.findIndex((bar) => bar.classList.contains("culprit")), 0);
  bars.forEach((bar, index) => { bar.tabIndex = index === start ? 0 : -1; });
  strip.addEventListener("keydown", (event) => {
    const here = bars.indexOf(document.activeElement);
    const there = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: bars.length - 1 }[event.key];
    if (bars[there] === undefined) return;
    event.preventDefault();
    bars[here].tabIndex = -1;
    bars[there].tabIndex = 0;
    bars[there].focus();
  });
}
