"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("data").textContent);
  const ERRORS = 1; // of Vega's levels: no warnings
  const isNarrow = innerWidth < 720;
  const legend = { labelLimit: 200, ...(isNarrow ? { orient: "bottom", columns: 2, labelLimit: 120 } : {}) };
  const config = { background: null, view: { stroke: null }, legend, font: "system-ui, DejaVu Sans, sans-serif" };
  const options = { actions: false, renderer: "svg", config, logLevel: ERRORS };

  async function draw(place) {
    try {
      const { view } = await vegaEmbed(place, charts[place.dataset.chart], options);
      if (place.dataset.chart === "map") view.addEventListener("click", (_, item) => play(item?.datum));
    } catch (error) {
      place.textContent = `This chart could not be drawn: ${error.message}`;
      console.error(error);
    }
  }

  // a dot of the map plays the excerpt that is elsewhere on the page
  function play(datum) {
    if (!datum || datum.row === undefined) return;
    const audio = document.querySelector(`audio[data-row="${Number(datum.row)}"]`);
    document.querySelector(".playing").textContent =
      `${datum.track} (${datum.label})${audio ? "" : ": no excerpt of it is on this page"}`;
    audio?.play();
  }
  document.addEventListener("play", ({ target }) => { // one at a time
    document.querySelectorAll("audio").forEach((other) => other !== target && other.pause());
  }, true);

  const watcher = new IntersectionObserver((entries) => { // a chart is drawn when it comes near
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) { watcher.unobserve(target); draw(target); }
    }
  }, { rootMargin: "400px" });
  document.querySelectorAll(".chart").forEach((place) => watcher.observe(place));
  document.documentElement.dataset.ready = "true";
})();
