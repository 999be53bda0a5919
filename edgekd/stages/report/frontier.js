// The chart of files by two metrics that the reader picks, and the table beside it.
if (page.frontier) {
  const { axes, view, files, points, best, limits, config } = page.frontier;
  const choose = (side) => document.getElementById(`frontier-${side}`);
  const place = document.getElementById("chart-frontier");
  const formats = ["onnx", "tflite", "torch", "other"];
  const shapes = { student: "circle", control: "triangle-up", assistant: "square", teacher: "diamond" };
  const prefixes = {
    B: [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]],
    s: [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]],
    J: [[1, "J"], [1e-3, "mJ"], [1e-6, "µJ"]],
  };
  let drawn = null;

  // The unit that an axis is written in, by its middle value.
  function unitOf(axis, values) {
    const middle = [...values].sort((a, b) => a - b)[values.length >> 1];
    const known = prefixes[axis.unit];
    return known ? (known.find(([factor]) => middle >= factor) ?? known.at(-1)) : [1, axis.unit];
  }

  function side(key, shown) {
    const axis = axes[key];
    const entries = shown.map((point) => point.values[key]);
    const [factor, unit] = unitOf(axis, entries.map(([value]) => value));
    const notes = [...new Set(entries.map((entry) => entry[4]).filter(Boolean))];
    const some = entries.some((entry) => !entry[4]) ? "some " : "";
    const name = axis.label + (notes.length ? ` (${some}${notes.join(", ")})` : "");
    const low = Math.min(...entries.map((entry) => entry[1]));
    const high = Math.max(...entries.map((entry) => entry[2]));
    // A limit far from all files would leave them no room.
    const inside = ({ value }) =>
      axis.log ? value > low / 10 && value < high * 10 : value > low - 3 * (high - low || 1) && value < high + 3 * (high - low || 1);
    return { axis, key, factor, name, inside, title: unit ? `${name} (${unit})` : name };
  }

  function encoding(side, field, ends) {
    const { log } = side.axis;
    const span = ends[1] - ends[0] || Math.abs(ends[0]) || 1;
    const domain = log ? [ends[0] / 1.3, ends[1] * 1.3] : [ends[0] - 0.12 * span, ends[1] + 0.12 * span];
    return {
      field,
      type: "quantitative",
      title: side.title,
      scale: { type: log ? "log" : "linear", domain, nice: false, ...(log ? {} : { zero: false }) },
      axis: { format: ".4~r", labelOverlap: "greedy", tickCount: 6 },
    };
  }

  // Where each number stands, away from other points and numbers; for a plot of `width` by 300 pixels.
  function labelled(values, x, y, width) {
    const scaled = (enc, value) => {
      const f = enc.scale.type === "log" ? Math.log : (each) => each;
      const [low, high] = enc.scale.domain.map(f);
      return (f(value) - low) / (high - low);
    };
    const spots = values.map((v) => [scaled(x, v.x) * width, (1 - scaled(y, v.y)) * 300]);
    const taken = [...spots];
    const around = [[13, -9], [-13, -9], [13, 9], [-13, 9], [20, 0], [-20, 0], [0, 19], [0, -19]];
    return values.map((value, index) => {
      const room = around.map(([dx, dy]) =>
        Math.min(99, ...taken.filter((each) => each !== spots[index]).map((each) => Math.hypot(each[0] - spots[index][0] - dx, each[1] - spots[index][1] - dy))),
      );
      const clear = room.findIndex((each) => each > 14);
      const [dx, dy] = around[clear >= 0 ? clear : room.indexOf(Math.max(...room))];
      taken.push([spots[index][0] + dx, spots[index][1] + dy]);
      return { ...value, dx, dy };
    });
  }

  // Corners of the line that joins the files on the frontier: between two of them it is as bad as either.
  function steps(values, x, y) {
    const ordered = values.filter((v) => v.best).sort((a, b) => a.x - b.x || a.y - b.y);
    const corners = [];
    for (const [i, v] of ordered.entries()) {
      const before = ordered[i - 1];
      if (before) corners.push(x.axis.less ? { x: v.x, y: before.y } : { x: before.x, y: v.y });
      corners.push({ x: v.x, y: v.y });
    }
    return corners.map((corner, order) => ({ ...corner, order }));
  }

  function specOf(values, x, y, lines, width) {
    const ends = (side, field) => {
      const own = lines.filter((line) => line.axis === side.key).map((line) => line.value / side.factor);
      return [Math.min(...values.map((v) => v[`${field}low`]), ...own), Math.max(...values.map((v) => v[`${field}high`]), ...own)];
    };
    const ex = encoding(x, "x", ends(x, "x"));
    const ey = encoding(y, "y", ends(y, "y"));
    const present = formats.filter((each) => values.some((v) => v.format === each));
    const roles = Object.keys(shapes).filter((each) => values.some((v) => v.role === each));
    const colour = {
      field: "format",
      type: "nominal",
      title: null,
      scale: { domain: present, range: present.map((each) => `var(--c${formats.indexOf(each) + 1})`) },
    };
    const shape = {
      field: "role",
      type: "nominal",
      title: null,
      scale: { domain: roles, range: roles.map((each) => shapes[each]) },
      legend: { symbolFillColor: "var(--ink)", symbolStrokeColor: "var(--ink)" },
    };
    const tooltip = [
      { field: "file", type: "nominal" },
      { field: "xwords", type: "nominal", title: x.name },
      { field: "ywords", type: "nominal", title: y.name },
      { field: "best", type: "nominal", title: "on the frontier" },
    ];
    const limit = (side, field, enc) => {
      const own = lines.filter((line) => line.axis === side.key);
      const layer = {
        data: { values: own.map((line) => ({ [field]: line.value / side.factor, budget: line.text })) },
        mark: { type: "rule", strokeDash: [5, 4], strokeWidth: 1.5, color: "var(--ink)" },
        encoding: { [field]: enc, tooltip: { field: "budget", type: "nominal" } },
      };
      return own.length ? [layer] : []; // an empty one is a picture without a name to screen readers
    };
    const texts = labelled(values, ex, ey, width);
    const places = [...new Set(texts.map(({ dx, dy }) => `${dx},${dy}`))];
    return {
      description: `${y.name} over ${x.name} of ${values.length} model files`,
      width: "container",
      height: 340,
      config,
      data: { values },
      layer: [
        ...limit(x, "x", ex),
        ...limit(y, "y", ey),
        {
          data: { values: steps(values, x, y) },
          mark: { type: "line", color: "var(--edge)", strokeWidth: 2, opacity: 0.9 },
          encoding: { x: ex, y: ey, order: { field: "order", type: "quantitative" } },
        },
        {
          mark: { type: "rule", strokeWidth: 1.5, opacity: 0.7 },
          encoding: { x: ex, y: { ...ey, field: "ylow" }, y2: { field: "yhigh" }, color: colour },
        },
        {
          mark: { type: "rule", strokeWidth: 1.5, opacity: 0.7 },
          encoding: { y: ey, x: { ...ex, field: "xlow" }, x2: { field: "xhigh" }, color: colour },
        },
        {
          name: "files",
          mark: { type: "point", filled: true, size: 110, opacity: 1 },
          encoding: { x: ex, y: ey, color: colour, shape, tooltip, description: { field: "words" } },
        },
        ...places.map((each) => {
          const [dx, dy] = each.split(",").map(Number);
          return {
            data: { values: texts.filter((text) => text.dx === dx && text.dy === dy) },
            mark: { type: "text", dx, dy, fontSize: 12, fontWeight: 600, aria: false },
            encoding: { x: ex, y: ey, text: { field: "n", type: "nominal" } },
          };
        }),
      ],
    };
  }

  function fill(values, x, y, target) {
    const cells = (v) => [[v.n, "td", "n"], [v.file, "th", "file"], [v.xwords, "td", "n"], [v.ywords, "td", "n"], [v.best ? "yes" : "no", "td", ""]];
    document.getElementById("frontier-rows").replaceChildren(
      ...values.map((v) => {
        const row = document.createElement("tr");
        for (const [text, tag, name] of cells(v)) {
          const cell = document.createElement(tag);
          cell.textContent = text;
          cell.className = name;
          if (tag === "th") cell.scope = "row";
          row.append(cell);
        }
        return row;
      }),
    );
    document.getElementById("frontier-x-name").textContent = x.name;
    document.getElementById("frontier-y-name").textContent = y.name;
    const where = document.getElementById("frontier-where");
    if (where) where.textContent = target;
  }

  // One stop of the tab key; arrows go from file to file, from left to right.
  function walk(svg) {
    const marks = [...(svg?.querySelectorAll("path[aria-roledescription='point']") ?? [])].sort(
      (a, b) => a.getBoundingClientRect().left - b.getBoundingClientRect().left,
    );
    for (const [index, mark] of marks.entries()) {
      mark.setAttribute("tabindex", index ? -1 : 0);
      mark.setAttribute("role", "img");
      mark.addEventListener("focus", () => tell(mark.getAttribute("aria-label")));
      mark.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const next = marks[(index + step + marks.length) % marks.length];
        mark.setAttribute("tabindex", -1);
        next.setAttribute("tabindex", 0);
        next.focus();
      });
    }
  }

  function tell(words) {
    document.getElementById("frontier-point").textContent = words;
  }

  async function draw() {
    const target = Number(choose("target")?.value ?? 0);
    const keys = [choose("x").value, choose("y").value];
    const shown = points.filter((point) => point.target === target && keys.every((key) => key in point.values));
    const name = choose("target")?.selectedOptions[0].textContent ?? view[0];
    drawn?.finalize();
    drawn = null;
    tell("\u200b");
    if (!shown.length || keys[0] === keys[1]) {
      place.textContent = keys[0] === keys[1] ? "Pick two metrics." : `No file has both metrics on ${name}.`;
      document.getElementById("frontier-rows").replaceChildren();
      document.getElementById("frontier-outside").textContent = "";
      return;
    }
    const [x, y] = keys.map((key) => side(key, shown));
    const numbers = best[[name, ...[...keys].sort()].join("|")] ?? [];
    const values = shown.map((point) => {
      const { name: file, role, format } = files[point.n - 1];
      const of = (side) => point.values[side.key].slice(0, 3).map((value) => value / side.factor);
      const ends = (side) => point.values[side.key][3];
      const [ax, xlow, xhigh] = of(x);
      const [ay, ylow, yhigh] = of(y);
      const onIt = numbers.includes(point.n);
      const words = `${point.n}, ${file}: ${y.name} ${ends(y)}, ${x.name} ${ends(x)}${onIt ? ", on the frontier" : ""}`;
      return { n: point.n, file, role, format, x: ax, xlow, xhigh, y: ay, ylow, yhigh, xwords: ends(x), ywords: ends(y), best: onIt, words };
    });
    const mine = limits.filter((line) => keys.includes(line.axis) && (line.target === null || line.target === target));
    const inside = mine.filter((line) => (line.axis === x.key ? x : y).inside(line));
    const outside = mine.filter((line) => !inside.includes(line)).map((line) => line.text);
    document.getElementById("frontier-outside").textContent = outside.length ? `Too far away to be drawn: ${outside.join("; ")}.` : "";
    fill(values, x, y, name);
    drawn = await drawChart(place, specOf(values, x, y, inside, Math.max(240, place.clientWidth - 70)));
    place.setAttribute("aria-label", `${y.name} over ${x.name} on ${name}; the table below has the same numbers`);
    walk(place.querySelector("svg"));
    drawn?.view.addResizeListener(() => requestAnimationFrame(() => walk(place.querySelector("svg"))));
  }

  // One after the other: what was asked for last is what stays.
  let asked = Promise.resolve();
  function ask() {
    asked = asked.then(draw);
  }

  document.getElementById("frontier-choices").hidden = false;
  for (const each of ["target", "x", "y"]) choose(each)?.addEventListener("change", ask);
  ask();
}
