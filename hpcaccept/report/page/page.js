// How do 131,072 rows stay usable? Only the rows that are seen exist; columns are decoded when they are looked at.
// All text goes through textContent: nothing that was measured or named can act. Nothing is loaded, nothing is stored.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const ROW = 30, CHARACTER = 7.4, PADDING = 20, TALLEST = 33 * 16, SPARE = 6, PRINTED = 40, SHOWN_METRICS = 5, ABSENT = 65535, FAR = 65534;
  const SVG = "http://www.w3.org/2000/svg";
  // From what must be looked at first to what is well, as in the words of every report.
  const ORDER = ["FAIL", "ERROR", "WARN", "NOT_RUN", "NO_BASELINE", "PASS"];

  // --- elements ------------------------------------------------------------------------------------------------------

  function element(kind, attributes = {}, ...children) {
    const made = document.createElement(kind);
    fill(made, attributes, children);
    return made;
  }

  function svg(kind, attributes = {}, ...children) {
    const made = document.createElementNS(SVG, kind);
    fill(made, attributes, children);
    return made;
  }

  function fill(made, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value != null) made.setAttribute(name, value);
    }
    made.append(...children);
  }

  // --- numbers -------------------------------------------------------------------------------------------------------

  function bytes(text) {
    const raw = atob(text), found = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) found[i] = raw.charCodeAt(i);
    return found.buffer;
  }
  const shorts = (text) => new Uint16Array(bytes(text));

  // hpcaccept.report.page.columns.encoded, backwards; NaN where nothing was measured.
  function decoded(column) {
    if (!column.values) {
      const codes = shorts(column.codes), values = new Float64Array(codes.length);
      for (let i = 0; i < codes.length; i++) {
        values[i] = codes[i] >= FAR ? NaN : column.low + codes[i] * column.step;
      }
      for (const [place, value] of column.far) values[place] = value;
      column.values = values;
      delete column.codes;
    }
    return column.values;
  }

  const PREFIXES = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]];
  const PREFIXED = new Set(["FLOP/s", "B/s", "B", "s", "Hz", "W"]);

  // hpcaccept.units.show
  function show(value, unit) {
    if (Number.isNaN(value)) return "–";
    if (unit === "share") return `${digits(value * 100, 3)} %`;
    if (!PREFIXED.has(unit)) return `${digits(value, 6)} ${unit}`.trim();
    if (value === 0) return `0 ${unit}`;
    for (const [scale, prefix] of PREFIXES) {
      if (Math.abs(value) >= scale * 0.9995) {
        const number = value / scale;
        return `${Math.abs(number) < 999.5 ? digits(number, 3) : number.toFixed(0)} ${prefix}${unit}`;
      }
    }
    return `${digits(value, 3)} ${unit}`;
  }
  const digits = (value, count) => String(Number(value.toPrecision(count)));
  const grouped = (number) => number.toLocaleString("en-US");
  const percent = (share) => Number.isFinite(share) ? `${(share * 100).toFixed(Math.abs(share) < 2 ? 1 : 0)} %` : "–";

  // --- whom the tables speak of ----------------------------------------------------------------------------------------

  const nodes = data.nodes, devices = data.devices;
  nodes.count = nodes.name.length;
  devices.node_of = new Uint32Array(bytes(devices.node));
  devices.count = devices.node_of.length;
  devices.label_of = shorts(devices.label);
  devices.group_of = shorts(devices.group);
  devices.by = shorts(devices.by);
  const first_device = firsts();

  // Places of each node's devices: they stand together.
  function firsts() {
    const found = new Map();
    for (let i = 0; i < devices.count; i++) {
      const node = devices.node_of[i];
      found.has(node) ? found.get(node).push(i) : found.set(node, [i]);
    }
    return found;
  }

  const worse = (metric) => metric.direction === "lower" ? Math.max : Math.min;

  // One number per node: its own, or that of its worst device.
  function per_node(metric) {
    if (metric.scope !== "device") return decoded(metric);
    if (!metric.per_node) {
      const values = decoded(metric), found = new Float64Array(nodes.count).fill(NaN), pick = worse(metric);
      for (let i = 0; i < devices.count; i++) {
        const node = devices.node_of[i];
        if (!Number.isNaN(values[i])) found[node] = Number.isNaN(found[node]) ? values[i] : pick(found[node], values[i]);
      }
      metric.per_node = found;
    }
    return metric.per_node;
  }

  const group_of_node = (node) => first_device.has(node) ? devices.group_of[first_device.get(node)[0]] : 0;
  const outcome_of = (table, i) => data.outcomes[Number(table.outcome[i])];

  // Rank of each node by name, gpu10 after gpu9; made when somebody sorts by it.
  let ranks;
  function rank_of(node) {
    if (!ranks) {
      const collator = new Intl.Collator("en", {numeric: true});
      const order = Array.from(nodes.name.keys()).sort((a, b) => collator.compare(nodes.name[a], nodes.name[b]));
      ranks = new Uint32Array(nodes.count);
      order.forEach((node, rank) => { ranks[node] = rank; });
    }
    return ranks[node];
  }

  // --- columns -------------------------------------------------------------------------------------------------------

  const pixels = (column) => Math.ceil(column.width * CHARACTER + PADDING);

  // A column: name, width in characters, text(i), key(i) to sort by (NaN comes last), worst: the sign of the first sort.
  const badge = (outcome) => element("span", {class: `badge ${outcome}`}, outcome.replace("_", " "));
  const way = (table) => ({
    name: "way to its limit", width: 32, worst: -1,
    help: "How far the unit's worst value lies between the median of its peers (0 %) and the failing limit (100 %), and which value",
    text: (i) => Number.isNaN(decoded(table.used)[i]) ? "–" : `${percent(decoded(table.used)[i])} · ${data.names[table.by[i]]}`,
    key: (i) => decoded(table.used)[i],
    low: (i) => decoded(table.used)[i] > 1,
  });
  const verdict = (table) => ({
    name: "verdict", width: 15, worst: 1,
    text: (i) => outcome_of(table, i),
    key: (i) => ORDER.indexOf(outcome_of(table, i)),
    show: (cell, i) => cell.replaceChildren(badge(outcome_of(table, i))),
  });

  function metric_column(metric, values_of, group_at, state) {
    const center = (i) => metric.center[group_at(i)] ?? NaN;
    return {
      name: metric.name, check: metric.check, width: 14, number: true, metric, worst: metric.direction === "lower" ? -1 : 1,
      help: `${metric.key}, ${metric.direction === "exact" ? "neither side is better" : `${metric.direction} is better`}`,
      text: (i) => {
        const value = values_of(metric)[i];
        return state.relative ? percent(value / center(i)) : show(value, metric.unit);
      },
      key: (i) => state.relative ? values_of(metric)[i] / center(i) : values_of(metric)[i],
    };
  }

  // --- a table of many rows --------------------------------------------------------------------------------------------

  class Grid {
    constructor(host, spec) {
      Object.assign(this, spec);
      this.state = {relative: false};
      this.choice = new Set(this.metrics.filter((m) => m.first).slice(0, SHOWN_METRICS));
      this.wanted = new Set(ORDER);
      this.words = [];
      this.sort = {name: "verdict", sign: 1};
      this.active = 0;
      this.rows = [];
      this.table = element("table", {role: "grid", tabindex: 0, "aria-label": this.label, onkeydown: (e) => this.key(e)});
      this.scroller = element("div", {class: "scroller", onscroll: () => this.soon()}, this.table);
      this.found = element("span", {class: "found", role: "status", "aria-live": "polite"});
      this.paper = element("p", {class: "paper"});
      host.replaceChildren(this.controls(), this.scroller, this.paper);
      this.rebuild();
    }

    controls() {
      const counts = {};
      for (let i = 0; i < this.count; i++) counts[outcome_of(this.source, i)] = (counts[outcome_of(this.source, i)] || 0) + 1;
      const search = element("input", {
        type: "search", placeholder: `Filter ${this.label.toLowerCase()}: part of a name …`, "aria-label": `Filter ${this.label.toLowerCase()} by name`, spellcheck: "false",
        oninput: () => { this.words = search.value.toLowerCase().split(/\s+/).filter(Boolean); this.arrange(); },
      });
      const outcomes = ORDER.filter((outcome) => counts[outcome]).map((outcome) => element("button", {
        type: "button", "aria-pressed": "true", "data-outcome": outcome,
        onclick: (event) => {
          const button = event.currentTarget, on = button.getAttribute("aria-pressed") === "false";
          button.setAttribute("aria-pressed", String(on));
          on ? this.wanted.add(outcome) : this.wanted.delete(outcome);
          this.arrange();
        },
      }, badge(outcome), ` ${grouped(counts[outcome])}`));
      const numbers = element("select", {"aria-label": "Numbers shown as", onchange: (e) => { this.state.relative = e.target.value === "share"; this.arrange(); }},
        element("option", {value: "value"}, "as measured"), element("option", {value: "share"}, "% of the median"));
      const names = element("button", {type: "button", onclick: () => this.names()}, "Names …");
      return element("div", {class: "controls"}, search, ...outcomes, this.metrics.length ? this.chooser() : "", this.metrics.length ? numbers : "", names, this.found);
    }

    chooser() {
      const boxes = this.metrics.map((metric) => element("label", {}, element("input", {
        type: "checkbox", checked: this.choice.has(metric),
        onchange: (e) => { e.target.checked ? this.choice.add(metric) : this.choice.delete(metric); this.rebuild(); },
      }), ` ${metric.name}`));
      return element("details", {}, element("summary", {}, `Columns (${this.metrics.length})`), element("div", {class: "choices"}, ...boxes));
    }

    // Head and empty rows, after the columns have changed.
    rebuild() {
      const metrics = this.metrics.filter((m) => this.choice.has(m));
      this.columns = [...this.fixed, ...metrics.map((m) => metric_column(m, this.values_of, this.group_at, this.state))];
      this.heads = this.columns.map((column) => element("th", {scope: "col", class: column.number ? "number" : null},
        element("button", {type: "button", title: column.help, onclick: () => this.by(column)}, column.name)));
      const widths = this.columns.map((column) => {
        const made = element("col");
        made.style.width = `${pixels(column)}px`;
        return made;
      });
      this.body = element("tbody");
      this.before = pad(this.columns.length);
      this.after = pad(this.columns.length);
      this.table.replaceChildren(element("colgroup", {}, ...widths), element("thead", {}, element("tr", {"aria-rowindex": 1}, ...this.heads)), this.before.body, this.body, this.after.body);
      this.table.style.width = `${this.columns.reduce((sum, column) => sum + pixels(column), 0)}px`;
      this.table.setAttribute("aria-colcount", this.columns.length);
      this.rows = [];
      this.arrange();
    }

    by(column) {
      const again = this.sort.name === column.name && this.sort.check === column.check;
      this.sort = {name: column.name, check: column.check, sign: again ? -this.sort.sign : column.worst};
      this.arrange();
    }

    // Which rows, in which order.
    arrange() {
      const column = this.columns.find((c) => c.name === this.sort.name && c.check === this.sort.check) || this.fixed[1];
      const kept = [];
      for (let i = 0; i < this.count; i++) {
        if (this.wanted.has(outcome_of(this.source, i)) && this.words.every((word) => this.haystack(i).includes(word))) kept.push(i);
      }
      const keys = new Float64Array(this.count), next = decoded(this.source.used);
      for (const i of kept) {
        const key = column.key(i);
        keys[i] = Number.isNaN(key) ? Infinity : this.sort.sign * key;
      }
      // Of equals the one that is nearest to its limit comes first.
      const near = (i) => Number.isNaN(next[i]) ? Infinity : -next[i];
      this.order = kept.sort((a, b) => keys[a] - keys[b] || near(a) - near(b) || a - b);
      this.heads.forEach((head, number) => head.setAttribute("aria-sort", this.columns[number] === column ? (this.sort.sign > 0 ? "ascending" : "descending") : "none"));
      this.table.setAttribute("aria-rowcount", this.order.length + 1);
      this.found.textContent = this.order.length === this.count ? `${grouped(this.count)} ${this.label.toLowerCase()}` : `${grouped(this.order.length)} of ${grouped(this.count)} ${this.label.toLowerCase()}`;
      this.active = 0;
      this.scroller.scrollTop = 0;
      this.draw();
    }

    soon() {
      if (!this.pending) this.pending = requestAnimationFrame(() => { this.pending = 0; this.draw(); });
    }

    draw(all = 0) {
      const seen = all || Math.ceil(Math.max(this.scroller.clientHeight, TALLEST) / ROW) + 2 * SPARE;
      const start = all ? 0 : Math.max(0, Math.min(Math.floor(this.scroller.scrollTop / ROW) - SPARE, this.order.length - seen));
      const end = Math.min(start + seen, this.order.length);
      while (this.rows.length < end - start) this.rows.push(this.row());
      this.body.replaceChildren(...this.rows.slice(0, end - start).map((row, number) => this.put(row, start + number)));
      this.paper.textContent = all && all < this.order.length ? `The first ${all} rows of ${grouped(this.order.length)}; all of them are on the screen.` : "";
      this.before.height(start * ROW);
      this.after.height(all ? 0 : (this.order.length - end) * ROW);
      this.table.setAttribute("aria-activedescendant", this.order.length ? `${this.ident}-${this.active}` : "");
    }

    row() {
      const cells = this.columns.map((column) => element("td", {role: "gridcell", class: column.number ? "number" : null}));
      const made = element("tr", {role: "row", onclick: () => { this.active = made.place; this.draw(); this.open(made.item); }}, ...cells);
      return made;
    }

    put(row, place) {
      row.place = place;
      row.item = this.order[place];
      row.id = `${this.ident}-${place}`;
      row.setAttribute("aria-rowindex", place + 2);
      row.setAttribute("aria-selected", String(place === this.active));
      this.columns.forEach((column, number) => {
        const cell = row.cells[number], text = column.text(row.item);
        if (column.show) column.show(cell, row.item);
        else { cell.textContent = text; cell.title = text; }
        cell.classList.toggle("low", Boolean(column.low && column.low(row.item)));
      });
      return row;
    }

    key(event) {
      if (event.target !== this.table) return;
      const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW) - 2);
      const moves = {ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity};
      if (event.key === "Enter" && this.order.length) this.open(this.order[this.active]);
      else if (event.key in moves) this.go(this.active + moves[event.key]);
      else return;
      event.preventDefault();
    }

    go(place) {
      this.active = Math.max(0, Math.min(place, this.order.length - 1));
      const head = this.table.tHead.offsetHeight, top = this.active * ROW, room = this.scroller.clientHeight - head - ROW;
      if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
      else if (top > this.scroller.scrollTop + room) this.scroller.scrollTop = top - room;
      this.draw();
    }

    names() {
      const found = [...new Set(this.order.map((i) => nodes.name[this.node_at(i)]))];
      const text = element("textarea", {readonly: true, "aria-label": "Names of the nodes of these rows"});
      text.value = found.join(",");
      dialog(`${grouped(found.length)} nodes of these rows`, text);
      text.select();
    }
  }

  function pad(columns) {
    const cell = element("td", {colspan: columns}), body = element("tbody", {class: "pad", "aria-hidden": "true"}, element("tr", {}, cell));
    return {body, height(pixels) { cell.style.height = `${pixels}px`; body.hidden = !pixels; }};
  }

  // --- one row in full -------------------------------------------------------------------------------------------------

  function dialog(title, ...content) {
    const heading = element("h3", {id: "dialog-title"}, title);
    const made = element("dialog", {"aria-labelledby": "dialog-title", onclose: () => made.remove()},
      element("div", {class: "bar-top"}, heading, element("button", {type: "button", onclick: () => made.close()}, "Close")), ...content);
    document.body.append(made);
    made.showModal();
  }

  // Marks on the distribution that the page has drawn for this metric and group.
  function plot(metric, group, values) {
    if (!metric.drawn[group]) return "";
    const [ident, low, high] = metric.drawn[group];
    const marks = values.filter((value) => !Number.isNaN(value)).map((value) => {
      const x = Math.min(Math.max((value - low) / (high - low), 0), 1) * 320;
      return svg("path", {d: `M${x - 1} 44V6h2V44z`, class: "mark"});
    });
    return svg("svg", {viewBox: "0 0 320 56", "aria-hidden": "true"}, svg("use", {href: `#${ident}`, width: 320, height: 56}), svg("path", {d: "M0 44H320", class: "axis"}), ...marks);
  }

  function details(title, note, group, rows) {
    const lines = rows.map(([metric, values]) => {
      const worst = values.reduce((a, b) => Number.isNaN(a) ? b : Number.isNaN(b) ? a : worse(metric)(a, b), NaN);
      return element("tr", {}, element("td", {title: metric.key}, metric.name), element("td", {class: "number"}, show(worst, metric.unit)),
        element("td", {class: "number"}, percent(worst / (metric.center[group] ?? NaN))), element("td", {}, plot(metric, group, values)));
    });
    const heads = ["metric", "value", "of the median", "among its like"].map((name, number) => element("th", {scope: "col", class: number === 1 || number === 2 ? "number" : null}, name));
    const table = element("div", {class: "wide"}, element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...lines)));
    dialog(title, note ? element("p", {}, note) : "", rows.length ? table : element("p", {class: "quiet"}, "Nothing was measured that differs between units."));
  }

  function open_node(node) {
    const mine = first_device.get(node) || [], group = group_of_node(node);
    const rows = data.metrics.map((metric) => [metric, metric.scope === "device" ? mine.map((i) => decoded(metric)[i]) : [decoded(metric)[node]]]);
    const kept = rows.filter(([, values]) => values.some((value) => !Number.isNaN(value)));
    details(nodes.name[node], nodes.note[node] || (mine.length > 1 ? `Each value is that of its worst device; all ${mine.length} are marked.` : ""), group, kept);
  }

  function open_device(i) {
    const rows = data.metrics.filter((metric) => metric.scope === "device").map((metric) => [metric, [decoded(metric)[i]]]);
    const title = `${nodes.name[devices.node_of[i]]} ${devices.labels[devices.label_of[i]]}`;
    const note = [data.groups[devices.group_of[i]], devices.id[i]].filter(Boolean).join(" · ");
    details(title, note, devices.group_of[i], rows.filter(([, values]) => !Number.isNaN(values[0])));
  }

  // --- the two tables --------------------------------------------------------------------------------------------------

  const places = {nodes: document.querySelector("[data-grid=nodes]"), devices: document.querySelector("[data-grid=devices]")};
  const grids = [];
  const lower = nodes.name.map((name) => name.toLowerCase());

  grids.push(new Grid(places.nodes, {
    ident: "n", label: "Nodes", count: nodes.count, source: nodes, metrics: data.metrics, values_of: per_node, group_at: group_of_node,
    haystack: (i) => lower[i], node_at: (i) => i, open: open_node,
    fixed: [
      {name: "node", width: Math.min(30, Math.max(10, ...nodes.name.slice(0, 2000).map((name) => name.length))), worst: 1, text: (i) => nodes.name[i], key: rank_of},
      verdict(nodes),
      {name: "judged", width: 9, number: true, worst: 1, help: "Checks judged of those asked for", text: (i) => `${nodes.judged[i]}/${nodes.checks}`, key: (i) => nodes.judged[i]},
      way(nodes),
      {name: "finding", width: 44, worst: 1, text: (i) => nodes.note[i] || "", key: (i) => nodes.note[i] ? 0 : NaN},
    ],
  }));

  if (places.devices) {
    const hay = [];
    const label = (i) => devices.labels[devices.label_of[i]];
    grids.push(new Grid(places.devices, {
      ident: "d", label: "Devices", count: devices.count, source: devices, metrics: data.metrics.filter((m) => m.scope === "device"), values_of: decoded,
      group_at: (i) => devices.group_of[i], node_at: (i) => devices.node_of[i], open: open_device,
      haystack: (i) => hay[i] ??= `${lower[devices.node_of[i]]} ${label(i).toLowerCase()} ${(devices.id[i] || "").toLowerCase()}`,
      fixed: [
        {name: "node", width: Math.min(30, Math.max(10, ...nodes.name.slice(0, 2000).map((name) => name.length))), worst: 1, text: (i) => nodes.name[devices.node_of[i]], key: (i) => rank_of(devices.node_of[i])},
        verdict(devices),
        {name: "device", width: 9, worst: 1, text: label, key: (i) => devices.label_of[i]},
        way(devices),
        ...(devices.id.length ? [{name: "id", width: 20, worst: 1, text: (i) => devices.id[i], key: (i) => i}] : []),
      ],
    }));
  }

  // On paper a table has its first rows, and says how many it has.
  addEventListener("beforeprint", () => {
    document.querySelectorAll("#about details").forEach((part) => { part.open = true; });
    grids.forEach((grid) => grid.draw(Math.min(PRINTED, grid.order.length)));
  });
  addEventListener("afterprint", () => grids.forEach((grid) => grid.draw()));
  document.documentElement.dataset.ready = "yes";
})();
