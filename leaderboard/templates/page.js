"use strict";
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const MOST_SERIES = 10; // in a chart: the first rows of the table as it is filtered and sorted
  const MOST_TRACKS = 200; // in a comparison
  const ERRORS = 1; // Vega warns of layers without a point, which is no fault
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // ---- text: everything that comes from results becomes text, never markup
  function element(tag, properties = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in made) made[name] = value;
      else made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }
  const share = (value) => (value === null || value === undefined ? "" : value.toFixed(3));
  const signed = (value) => (value > 0 ? "+" : "") + value.toFixed(3);
  const chance = (p) => (p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`);
  const seedsRight = (sign) => sign.charCodeAt(0) - 48;

  function table(columns, rows) {
    const isNumber = columns.map((_, place) => place > 0 && rows.every((row) => typeof row[place] === "number" || /^[-+\d.]*$/.test(row[place])));
    const cell = (value, place) => place === 0
      ? element("th", { scope: "row" }, String(value))
      : element("td", { className: isNumber[place] ? "number" : "" }, String(value));
    const head = element("tr", {}, ...columns.map((name, place) => element("th", { scope: "col", className: isNumber[place] ? "number" : "" }, name)));
    const body = rows.map((row) => element("tr", {}, ...row.map(cell)));
    const inner = element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
    return element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: columns.join(", ") }, inner);
  }

  // ---- charts
  function theme() {
    const ink = dark.matches ? "#e4e8ec" : "#1c2127";
    const line = dark.matches ? "#3a424c" : "#d5dae0";
    const axis = { labelColor: ink, titleColor: ink, gridColor: line, domainColor: line, tickColor: line };
    return {
      background: null, view: { stroke: null }, axis, rule: { color: ink }, line: { color: ink },
      legend: { labelColor: ink, titleColor: ink, labelLimit: 260, ...(innerWidth < 720 ? { orient: "bottom", columns: 1 } : {}) },
      text: { color: ink }, font: "system-ui, DejaVu Sans, sans-serif",
    };
  }

  function draw(place, name, rows, titles) {
    if (!rows.length) { place.replaceChildren("Nothing was measured here for these rows."); return; }
    const text = JSON.stringify(DATA.charts[name])
      .replace(/__(x|y|value)__/g, (_, key) => (titles[key] ?? "").replace(/["\\]/g, ""));
    const specification = { ...JSON.parse(text), datasets: { rows } };
    const step = specification.height.step; // of charts with a line for each y
    if (step) specification.height = step * new Set(rows.map((row) => row.y)).size;
    const options = { actions: false, renderer: "svg", config: theme(), logLevel: ERRORS };
    return vegaEmbed(place, specification, options).catch((error) => {
      place.textContent = `This chart could not be drawn: ${error.message}`;
      console.error(error);
    });
  }

  // a chart is drawn when it comes near, and again when its rows or the colours change
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      target.isNear = isIntersecting;
      if (isIntersecting && target.isStale) refresh(target);
    }
  }, { rootMargin: "300px" });
  function refresh(place) {
    if (!place.isNear) { place.isStale = true; return; }
    place.isStale = false;
    place.redraw();
  }
  function chart(place, redraw) {
    Object.assign(place, { redraw, isStale: true, isNear: false });
    watcher.observe(place);
  }
  dark.addEventListener("change", () => document.querySelectorAll(".chart").forEach(refresh));

  // ---- a protocol's section
  function section(root) {
    const data = DATA.sections[root.id];
    const body = root.querySelector(".ranking tbody");
    let rows = [...body.rows]; // in the table's order
    const filters = root.querySelector(".filters");
    const charts = [...root.querySelectorAll(".chart")];
    const more = root.querySelector(".more");
    let matching = rows; // what the filters leave, in the table's order; the first `limit` are shown
    let limit = DATA.mostRows;
    const shown = () => matching.map((row) => Number(row.dataset.row));
    const first = () => new Set(shown().slice(0, MOST_SERIES).map((row) => data.rows[row].name));

    function sort(head, place) {
      const isUp = head.getAttribute("aria-sort") === "descending" || (head.getAttribute("aria-sort") === "none" && !isBetterHigh(head));
      head.parentNode.querySelectorAll("[aria-sort]").forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
      const isNumber = head.dataset.order === "number";
      const keyed = rows.map((row) => [row, row.cells[place].dataset.value]);
      keyed.sort(([, a], [, b]) => {
        if (a === "" || b === "") return (a === "") - (b === ""); // what was not measured goes last
        return (isNumber ? a - b : a.localeCompare(b)) * (isUp ? 1 : -1);
      });
      rows = keyed.map(([row]) => row);
      body.append(...rows);
      filter();
    }
    const isBetterHigh = (head) => head.textContent.trim() === data.metric;

    function filter() {
      const wanted = Object.fromEntries(new FormData(filters));
      const search = (wanted.search ?? "").trim().toLowerCase();
      matching = rows.filter((row) => {
        const is = data.rows[row.dataset.row];
        return (
          (!search || `${is.name} ${is.model} ${is.frontend}`.toLowerCase().includes(search)) &&
          (!wanted.kind || is.kind === wanted.kind) &&
          (!wanted.frontend || is.frontend === wanted.frontend) &&
          (!wanted.pretrained || is.pretrained === (wanted.pretrained === "yes")) &&
          (!wanted.parameters || is.parameters <= Number(wanted.parameters)) &&
          (!wanted.licence || is.licence === wanted.licence)
        );
      });
      const visible = new Set(matching.slice(0, limit));
      for (const row of rows) row.hidden = !visible.has(row);
      const all = rows.length;
      filters.querySelector(".count").textContent = matching.length === all ? `${all} rows` : `${matching.length} of ${all} rows`;
      if (more) more.hidden = matching.length <= limit;
      charts.forEach(refresh);
    }

    root.querySelectorAll(".ranking thead th").forEach((head, place) => {
      head.querySelector("button")?.addEventListener("click", () => sort(head, place));
    });
    filters.addEventListener("input", filter);
    more?.addEventListener("click", () => { limit = Infinity; filter(); });
    filters.addEventListener("submit", (event) => event.preventDefault());
    body.addEventListener("click", (event) => {
      const button = event.target.closest(".open");
      if (button) openRow(data, detailsOf(root.id), Number(button.closest("tr").dataset.row));
    });

    const cost = root.querySelector(".cost");
    const isMeasured = (name) => data.rows.some((row) => row[name] !== null);
    [...cost.options].filter((option) => !isMeasured(option.value)).forEach((option) => option.remove());
    const figure = root.querySelector(".figure");
    const ofFirst = (points) => { const names = first(); return points.filter((point) => names.has(point.series ?? point.x)); };
    const drawings = {
      cost: (place) => {
        const points = shown().map((row, i) => ({ ...data.rows[row], cost: data.rows[row][cost.value], label: i < MOST_SERIES ? data.rows[row].name : "" }));
        const known = points.filter((point) => point.cost !== null && point.cost > 0);
        const middle = Math.sqrt(Math.min(...known.map((point) => point.cost)) * Math.max(...known.map((point) => point.cost)));
        for (const point of known) {
          point.side = point.cost > middle ? "left" : "right";
          point.isClaim = point.verified && point.interval_of === "architecture";
        }
        draw(place, "cost", known, { x: DATA.costs[cost.value], y: data.metric });
      },
      robustness: (place) => draw(place, "dots", ofFirst(data.robustness), { x: `drop in ${data.metric}` }),
      length: (place) => draw(place, "lines", ofFirst(data.length), { x: "seconds heard of each track", y: data.metric }),
      listening: (place) => {
        const points = data.listening.filter((point) => point.figure === figure.value);
        draw(place, "heat", labelled(ofFirst(points)), { x: "model", y: "what changes", value: `share ${figure.value}` });
      },
    };
    charts.forEach((place) => chart(place, () => drawings[place.dataset.chart](place)));
    cost.addEventListener("change", () => charts.forEach(refresh));
    figure?.addEventListener("change", () => charts.forEach(refresh));
    const compare = root.querySelector(".compare");
    if (compare) comparison(compare, root.querySelector(".verdict"), data);
  }
  const labelled = (points) => points.map((point) => ({ ...point, text: point.value.toFixed(2) }));

  // ---- an opened row
  const parsed = {}; // of each section, when its first row is opened
  const detailsOf = (id) => (parsed[id] ??= JSON.parse(document.getElementById(`details-${id}`).textContent));
  function openRow(data, all, place) {
    const row = data.rows[place];
    const details = all[place];
    const content = document.getElementById("row-content");
    const dialog = document.getElementById("row");
    document.getElementById("row-title").textContent = row.name;
    const parts = [
      element("p", {}, `${row.kind}, front end ${row.frontend}; ${data.metric} ${share(row.mean)} (${share(row.low)} to ${share(row.high)}), ${row.num_seeds} seed${row.num_seeds > 1 ? "s" : ""}.`),
      element("p", {}, facts(row)),
      ...details.warnings.map((warning) => element("p", { className: "notice" }, `The audit of the split warns: ${warning}.`)),
    ];
    const later = [];
    if (details.genres.length) {
      const heat = element("div", { className: "chart" });
      later.push(() => draw(heat, "heat", confusionPoints(data.classes, details.confusion), { x: "taken for", y: "genre", value: "share of the genre" }));
      parts.push(element("h3", {}, "Which genres it confuses"), heat,
        element("h3", {}, "Genre by genre"),
        table(["genre", "tracks", "recall", "precision", "F1"], details.genres.map((g) => [g.genre, g.tracks, share(g.recall), share(g.precision), share(g.f1)])));
    }
    for (const figure of new Set(details.curves.map((point) => point.figure))) {
      const lines = element("div", { className: "chart" });
      const points = details.curves.filter((point) => point.figure === figure)
        .map((point) => ({ series: point.series, x: point.epoch, y: point.value }));
      later.push(() => draw(lines, "lines", points, { x: "epoch", y: figure }));
      parts.push(element("h3", {}, figure), lines);
    }
    parts.push(
      element("h3", {}, "All metrics, mean and deviation over seeds"),
      table(["metric", "mean", "deviation"], details.metrics.map((m) => [m.metric, share(m.mean), share(m.deviation)])),
      element("h3", {}, "How to run it again"),
      element("pre", {}, details.command),
      element("p", { className: "small" }, `Seeds ${details.seeds.join(", ")}. Trained on ${details.hardware}. ${details.versions}.`),
      element("details", {}, element("summary", {}, "The whole configuration of the first seed"), element("pre", {}, details.config)),
    );
    content.replaceChildren(...parts);
    dialog.showModal();
    dialog.scrollTop = 0;
    later.forEach((drawing) => drawing());
  }
  function facts(row) {
    const known = Object.entries(DATA.costs).filter(([name]) => row[name] !== null);
    const written = (value) => (Number.isInteger(value) ? value : Number(value.toPrecision(3))).toLocaleString("en");
    const costs = known.map(([name, title]) => `${title}: ${written(row[name])}`);
    const origin = row.pretrained ? `from weights learned on other data (licence: ${row.licence})` : "from random weights";
    return `Trained ${origin}${row.verified ? "" : "; not verified"}. ${costs.join("; ")}.`;
  }
  function confusionPoints(classes, counts) {
    return counts.flatMap((row, i) => {
      const total = row.reduce((sum, count) => sum + count, 0);
      return row.map((count, j) => ({ y: classes[i], x: classes[j], value: total ? count / total : 0, text: count ? String(count) : "" }));
    });
  }

  // ---- two models
  function comparison(form, verdict, data) {
    const { a, b } = form.elements;
    for (const choice of [a, b]) choice.append(...data.rows.map((row, i) => element("option", { value: i }, row.name)));
    b.value = 1;
    function compare() {
      const places = [Number(a.value), Number(b.value)];
      if (places[0] === places[1]) { verdict.replaceChildren(element("p", {}, "Choose two models.")); return; }
      const [low, high] = [Math.min(...places), Math.max(...places)];
      const known = data.pairs[`${low}-${high}`];
      if (!known) { verdict.replaceChildren(element("p", {}, "For this pair run python -m leaderboard compare A B.")); return; }
      const turn = places[0] === low ? 1 : -1;
      const ordered = (c) => [c[0] * turn, ...(turn === 1 ? [c[1], c[2]] : [-c[2], -c[1]]), c[3]];
      const names = places.map((place) => data.rows[place].name);
      verdict.replaceChildren(
        element("p", {}, sentence("Trained again, on other tracks", names, known[0] === null ? null : ordered(known.slice(0, 4)), ", adjusted for all pairs of this table")),
        ...(known[4] === null ? [] : [element("p", {}, sentence("Their first checkpoints, on other tracks", names, ordered(known.slice(4)), ", exact test over independent units"))]),
        ...trackByTrack(places, names),
      );
    }
    function sentence(question, [nameA, nameB], claim, how) {
      if (claim === null) return `${question}: no claim. That takes ${DATA.minSeeds} seeds of each, two independent units, and verified weights.`;
      const [difference, low, high, p] = claim;
      const answer = p < 1 - DATA.level ? `${difference > 0 ? nameA : nameB} is better than ${difference > 0 ? nameB : nameA}` : "a tie, the difference may be noise";
      return `${question}: ${answer} (A less B ${signed(difference)}, ${100 * DATA.level} % interval ${signed(low)} to ${signed(high)}, ${chance(p)}${how}).`;
    }
    function trackByTrack([placeA, placeB], [nameA, nameB]) {
      const tracks = data.tracks;
      if (!tracks) return [];
      const seeds = [placeA, placeB].map((place) => data.rows[place].num_seeds);
      const all = tracks.names.map((name, i) => {
        const right = [placeA, placeB].map((place) => seedsRight(tracks.right[place][i]));
        const taken = [placeA, placeB].map((place) => data.classes[seedsRight(tracks.taken[place][i])]);
        return { name, genre: data.classes[tracks.genres[i]], right, taken, apart: right[0] / seeds[0] - right[1] / seeds[1], wins: taken.map((guess) => guess === data.classes[tracks.genres[i]]) };
      });
      const only = [0, 1].map((which) => all.filter((track) => track.wins[which] && !track.wins[1 - which]).length);
      const both = all.filter((track) => track.wins[0] && track.wins[1]).length;
      const apart = all.filter((track) => track.apart !== 0).sort((x, y) => Math.abs(y.apart) - Math.abs(x.apart));
      const rows = apart.slice(0, MOST_TRACKS).map((t) => [t.name, t.genre, `${t.right[0]} of ${seeds[0]}`, `${t.right[1]} of ${seeds[1]}`, ...t.taken]);
      return [
        element("p", {}, `First checkpoints, of ${all.length} tracks: A right and B wrong ${only[0]}, B right and A wrong ${only[1]}, both right ${both}, both wrong ${all.length - both - only[0] - only[1]}.`),
        element("details", {}, element("summary", {}, `The ${apart.length} tracks that they do not recognise equally often${apart.length > rows.length ? `, the first ${rows.length} of them` : ""}`),
          table(["track", "genre", `seeds of A (${nameA}) right`, `seeds of B (${nameB}) right`, "A took it for", "B took it for"], rows)),
      ];
    }
    form.addEventListener("input", compare);
    compare();
  }

  document.querySelectorAll("section.protocol").forEach(section);
  document.querySelectorAll("#efficiency .chart").forEach((place) => {
    const curve = DATA.efficiency[place.dataset.place];
    chart(place, () => draw(place, "lines", curve.points, { x: "share of the training tracks", y: "metric" }));
  });
  document.documentElement.dataset.ready = "true";
})();
