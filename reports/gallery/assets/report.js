/* Zoom, toggles and exact values for charts that are complete without it. One view of time serves all time
   charts of a page. All text is set as text, never as markup. */
"use strict";
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  root.classList.add("js");
  const tip = document.getElementById("tip");
  const hidden = new Set();
  const view = { from: 0, to: 1 };
  const charts = [];
  const SVG = "http://www.w3.org/2000/svg";

  function el(name, text) {
    const node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  // ---- tips ----------------------------------------------------------------------------------------

  function place(x, y) {
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = Math.min(x + 14, root.clientWidth - box.width - 6);
    const above = y + box.height + 18 > root.clientHeight && y - box.height - 12 > 0;
    tip.style.left = `${Math.max(4, left) + window.scrollX}px`;
    tip.style.top = `${(above ? y - box.height - 12 : y + 16) + window.scrollY}px`;
  }

  function hideTip() {
    tip.hidden = true;
    for (const chart of charts) chart.cursor.setAttribute("visibility", "hidden");
  }

  for (const node of document.querySelectorAll(".tip")) {
    const show = () => {
      const box = node.getBoundingClientRect();
      tip.replaceChildren(el("span", node.dataset.tip));
      place(box.left - 14, box.bottom - 10);
    };
    node.addEventListener("mouseenter", show);
    node.addEventListener("focus", show);
    node.addEventListener("mouseleave", hideTip);
    node.addEventListener("blur", hideTip);
  }

  // ---- numbers -------------------------------------------------------------------------------------

  function exact(value) {
    if (value === null || value === undefined) return "-";
    return Number.isInteger(value) ? value.toLocaleString("en") : String(value);
  }

  function niceStep(rough) {
    const power = 10 ** Math.floor(Math.log10(rough));
    return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough * (1 - 1e-9));
  }

  function timeText(value) {
    return String(Number(value.toPrecision(6)));
  }

  // ---- one view of time ----------------------------------------------------------------------------

  function setView(from, to) {
    const steps = page.span.steps;
    const width = Math.min(1, Math.max(to - from, Math.min(1, 2 / steps)));
    view.from = Math.min(1 - width, Math.max(0, from));
    view.to = view.from + width;
    for (const chart of charts) if (chart.kind === "time") drawView(chart);
    const range = document.getElementById("range");
    if (range) {
      const end = page.span.end;
      const unit = page.span.symbol || "intervals";
      range.textContent = width === 1 ? "" : `${timeText(view.from * end)} to ${timeText(view.to * end)} ${unit}`;
    }
  }

  function drawView(chart) {
    const box = chart.box.viewBox.baseVal;
    chart.box.setAttribute("viewBox", `${view.from * chart.width} 0 ${(view.to - view.from) * chart.width} ${box.height}`);
    const end = page.span.end || 1;
    const low = view.from * end;
    const high = view.to * end;
    const step = page.span.symbol ? niceStep((high - low) / 5) : Math.max(1, niceStep((high - low) / 5));
    chart.axis.replaceChildren();
    for (let at = Math.ceil(low / step - 1e-9); at * step <= high * (1 + 1e-9); at += 1) {
      const text = document.createElementNS(SVG, "text");
      text.setAttribute("x", `${(100 * (at * step - low)) / (high - low)}%`);
      text.setAttribute("y", "14");
      text.textContent = timeText(at * step);
      chart.axis.append(text);
    }
  }

  function zoom(factor, centre) {
    const width = (view.to - view.from) * factor;
    const middle = centre === undefined ? (view.from + view.to) / 2 : centre;
    const share = (middle - view.from) / (view.to - view.from);
    setView(middle - width * share, middle + width * (1 - share));
  }

  function pan(share) {
    const shift = (view.to - view.from) * share;
    const by = Math.max(-view.from, Math.min(1 - view.to, shift));
    setView(view.from + by, view.to + by);
  }

  const actions = {
    in: () => zoom(0.5), out: () => zoom(2), left: () => pan(-0.25), right: () => pan(0.25), all: () => setView(0, 1),
  };
  for (const button of document.querySelectorAll("[data-do]")) {
    button.addEventListener("click", actions[button.dataset.do]);
  }

  // ---- exact values --------------------------------------------------------------------------------

  function label(chart, at) {
    if (chart.kind !== "time") return chart.data.x[at];
    const step = page.span.end / page.span.steps;
    if (page.span.symbol) return `${timeText(at * step)} to ${timeText((at + 1) * step)} ${page.span.symbol}`;
    return step === 1 ? `interval ${at}` : `intervals ${at * step} to ${(at + 1) * step - 1}`;
  }

  function visible(line) {
    return line.profiles.some((profile) => !hidden.has(profile));
  }

  function names(line) {
    return line.names.filter((_, index) => !hidden.has(line.profiles[index])).join(", ");
  }

  function showValues(chart, at, x, y) {
    const table = el("table");
    const swatches = chart.node.querySelectorAll(".legend .swatch");
    chart.data.series.forEach((line, index) => {
      if (!visible(line)) return;
      const row = el("tr");
      const head = el("th");
      head.append(swatches[index].cloneNode(true), names(line));
      row.append(head, el("td", exact(line.values[at])));
      table.append(row);
    });
    tip.replaceChildren(el("strong", label(chart, at)), el("div", chart.data.unit), table);
    chart.at = at;
    drawCursor(chart, chart.kind === "curve" ? chart.data.at[at] : at + 0.5);
    place(x, y);
  }

  /* The cursor of a time chart runs through all of them. */
  function drawCursor(chart, middle) {
    const time = chart.kind === "time";
    const whole = middle / chart.width;
    const share = time ? (whole - view.from) / (view.to - view.from) : whole;
    for (const one of time ? charts.filter((other) => other.kind === "time") : [chart]) {
      one.cursor.setAttribute("x1", `${100 * share}%`);
      one.cursor.setAttribute("x2", `${100 * share}%`);
      one.cursor.setAttribute("visibility", "visible");
    }
  }

  function shareAt(chart, x) {
    const box = chart.plot.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (x - box.left) / box.width));
    return chart.kind === "time" ? view.from + share * (view.to - view.from) : share;
  }

  function steps(chart) {
    return chart.data.heat ? chart.data.heat.columns : chart.data.series[0].values.length;
  }

  function stepAt(chart, x) {
    const at = shareAt(chart, x) * chart.width;
    if (chart.kind !== "curve") return Math.min(steps(chart) - 1, Math.max(0, Math.floor(at)));
    let best = 0;
    chart.data.at.forEach((point, index) => {
      if (Math.abs(point - at) < Math.abs(chart.data.at[best] - at)) best = index;
    });
    return best;
  }

  // ---- heat maps: counts by cell, kept as distances between cells and values --------------------------

  function rowAt(chart, y) {
    const box = chart.plot.getBoundingClientRect();
    const up = 1 - (y - box.top) / box.height;
    return Math.min(chart.data.heat.rows - 1, Math.max(0, Math.floor(up * chart.data.heat.rows)));
  }

  function cellsOf(chart) {
    if (!chart.cells) {
      chart.cells = new Map();
      let at = 0;
      chart.data.heat.cells.forEach((value, index) => {
        if (index % 2 === 0) at += value;
        else chart.cells.set(at, value);
      });
    }
    return chart.cells;
  }

  function showCell(chart, column, row, x, y) {
    const heat = chart.data.heat;
    const value = cellsOf(chart).get(column * heat.rows + row) || 0;
    chart.at = column;
    chart.row = row;
    tip.replaceChildren(
      el("strong", label(chart, column)),
      el("div", heat.labels[row]),
      el("div", `${exact(value)} ${chart.data.unit}`),
    );
    drawCursor(chart, column + 0.5);
    place(x, y);
  }

  function showAt(chart, x, y) {
    if (chart.data.heat) showCell(chart, stepAt(chart, x), rowAt(chart, y), x, y);
    else showValues(chart, stepAt(chart, x), x, y);
  }

  /* Keys move from step to step; in a map also from address to address. */
  function walk(chart, across, up) {
    const last = steps(chart) - 1;
    const at = Math.min(last, Math.max(0, (chart.at ?? (across < 0 ? last + 1 : -1)) + across));
    if (chart.kind === "time" && (at / chart.width < view.from || (at + 1) / chart.width > view.to)) pan(0.5 * across);
    const box = chart.plot.getBoundingClientRect();
    if (!chart.data.heat) {
      showValues(chart, at, box.left + 24, box.top + 8);
      return;
    }
    const row = Math.min(chart.data.heat.rows - 1, Math.max(0, (chart.row ?? 0) + up));
    showCell(chart, at, row, box.left + 24, box.top + 8);
  }

  // ---- charts --------------------------------------------------------------------------------------

  function toggle(profile) {
    if (hidden.has(profile)) hidden.delete(profile);
    else hidden.add(profile);
    for (const button of document.querySelectorAll(`button[data-profile="${profile}"]`)) {
      button.setAttribute("aria-pressed", String(!hidden.has(profile)));
    }
    for (const path of document.querySelectorAll("path[data-profiles]")) {
      const profiles = path.dataset.profiles.split(" ").map(Number);
      path.classList.toggle("off", profiles.every((one) => hidden.has(one)));
    }
  }

  function drag(chart, event) {
    const box = chart.plot.getBoundingClientRect();
    const begin = shareAt(chart, event.clientX);
    const from = view.from;
    const to = view.to;
    const select = document.createElementNS(SVG, "rect");
    select.setAttribute("class", "select");
    select.setAttribute("height", "100%");
    if (!event.shiftKey) chart.plot.append(select);
    const move = (now) => {
      if (event.shiftKey) {
        const by = ((event.clientX - now.clientX) / box.width) * (to - from);
        const kept = Math.max(-from, Math.min(1 - to, by));
        setView(from + kept, to + kept);
        return;
      }
      const left = Math.max(box.left, Math.min(event.clientX, now.clientX)) - box.left;
      const right = Math.min(box.right, Math.max(event.clientX, now.clientX)) - box.left;
      select.setAttribute("x", left);
      select.setAttribute("width", right - left);
    };
    const up = (now) => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", up);
      window.removeEventListener("pointercancel", up);
      select.remove();
      if (event.shiftKey || now.type === "pointercancel" || Math.abs(now.clientX - event.clientX) < 5) return;
      const end = shareAt(chart, now.clientX);
      setView(Math.min(begin, end), Math.max(begin, end));
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", up);
    window.addEventListener("pointercancel", up);
  }

  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };

  function key(chart, event) {
    const time = chart.kind === "time";
    const [across, up] = arrows[event.key] || [0, 0];
    if (across && event.shiftKey && time) pan(0.25 * across);
    else if (across || (up && chart.data.heat)) walk(chart, across, up);
    else if (time && (event.key === "+" || event.key === "=")) zoom(0.5);
    else if (time && event.key === "-") zoom(2);
    else if (time && event.key === "0") setView(0, 1);
    else if (event.key === "Escape") hideTip();
    else return;
    event.preventDefault();
  }

  for (const [id, data] of Object.entries(page.charts || {})) {
    const node = document.getElementById(id);
    const plot = node.querySelector(".plot");
    const box = plot.querySelector(".view");
    const chart = {
      node, plot, box, data, kind: data.kind, width: box.viewBox.baseVal.width,
      axis: node.querySelector(".x-axis g"), cursor: plot.querySelector(".cursor"),
    };
    charts.push(chart);
    plot.addEventListener("pointermove", (event) => showAt(chart, event.clientX, event.clientY));
    plot.addEventListener("pointerdown", (event) => showAt(chart, event.clientX, event.clientY));
    plot.addEventListener("pointerleave", hideTip);
    plot.addEventListener("blur", hideTip);
    plot.addEventListener("keydown", (event) => key(chart, event));
    if (data.kind === "time") {
      plot.addEventListener("pointerdown", (event) => {
        if (event.pointerType === "mouse" && event.button === 0) drag(chart, event);
      });
      plot.addEventListener("dblclick", () => setView(0, 1));
      plot.addEventListener("wheel", (event) => {
        if (!event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        zoom(event.deltaY > 0 ? 1.25 : 0.8, shareAt(chart, event.clientX));
      }, { passive: false });
    }
  }
  for (const button of document.querySelectorAll("button[data-profile]")) {
    button.addEventListener("click", () => toggle(Number(button.dataset.profile)));
  }

  // ---- many guests: those whose name contains a text -------------------------------------------------

  const find = document.getElementById("find");
  if (find) {
    const rows = [...document.querySelectorAll(".matrix tbody")];
    find.addEventListener("input", () => {
      const wanted = find.value.trim().toLowerCase();
      let shown = 0;
      for (const row of rows) {
        row.hidden = !row.querySelector(".name").textContent.toLowerCase().includes(wanted);
        shown += row.hidden ? 0 : 1;
      }
      document.getElementById("found").textContent = wanted ? `${shown} of ${rows.length}` : "";
    });
  }
  root.dataset.ready = "yes";
})();
