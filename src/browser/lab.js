/* lab.js - the pages of the lab: controls, the command they make, what the picture shows of its output.
 *
 *   1  controls, and the pages as data
 *   2  charts, as SVG
 *   3  the worker: one request at a time, of each page the newest
 *   4  a page on the screen
 */
"use strict";

/* ---- 1 the pages ---------------------------------------------------------------------------- */

const number = (name, label, values, start, says) => ({ name, label, values, start, says });
const RATIOS = [.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1];
const KEYS = number("keys", "keys", ["iid", "powerlaw", "lowrank", "mean", "repeat"], "iid",
  "Keys: independent, with a power law, of rank 8 with noise, with a common direction, or one key again and again.");
const RATIO = number("ridge", "ridge ratio a", RATIOS, .02,
  "The ridge is a times the norm of H, so that the condition number is at most (a + 1)/a.");
const GATE = number("gate", "gates", ["none", "slow", "released", "strong"], "none",
  "A gate below 1 multiplies the state at every token: old pairs fade.");
const TOKENS = number("T", "tokens T", [4, 8, 16, 32, 64, 128], 64, "Each token stores one pair of key and value.");
const BITS = number("p", "bits of precision p", [2, 3, 4, 5, 6, 8, 10, 11, 13, 16, 20, 24], 8,
  "The unit roundoff is u = 2^-p. bf16 has p = 8, fp16 has 11, fp32 has 24.");
const EXPONENT = number("e", "bits of the exponent e", [3, 4, 5, 6, 8], 8,
  "The exponent decides the range: with few bits small numbers become zero and large ones overflow.");
const ROUNDINGS = {
  operand_x: "the operand x of the iteration's products", store_x: "x and p where they are stored",
  mask: "the matrix M of the gates", norm_square: "the squares under the norm",
  norm_reduce: "the sum under the norm of the state", operand_score: "the scores K x before the second product",
  state_operand: "the state H as an operand", mix: "q' = q + alpha (x - q)",
  output_score: "the scores of the output", store_o: "o where it is stored",
};
const POINT = number("point", "which rounding is left out", Object.keys(ROUNDINGS), "operand_x",
  "Each place where the released kernels round to bf16 can be made exact by itself.");
const STEPS = number("iters", "steps r", [1, 2, 3, 5, 8, 12, 20, 30, 45, 60], 30, "Every step costs one product with H.");
const ARITH = number("arith", "arithmetic", ["fp64", "fp32", "fp16-mixed", "bf16-mixed", "bf16", "e4m3-mixed"], "bf16-mixed",
  "mixed: operands of products in the short format, all else in fp32. Without it everything is short.");

/* The eigenvalues alone: of bf16 keys the command also emulates the norm of an H100, which takes most of the time. */
const KEYS_F32 = ["--dtype=F32"];
const made = v => ["--problem=" + v.keys, ...(v.gate === undefined || v.gate === "none" ? ["--plain"] : ["--gate=" + v.gate])];
const rows = text => text.trim().split("\n").map(line => line.trim().split(/\s+/));
/* The rows of the output from the one that begins with `first` on. */
const tableFrom = (text, first) => {
  const all = rows(text), at = all.findIndex(row => row[0] === first);
  return all.slice(at + 1).filter(row => row.length > 1);
};
const trace = text => text.trim().split("\n").slice(1).map(line => line.split(","));
const LOOKS = {
  cg: ["CG", "#009e73", "triangle", ""], chebyshev: ["Chebyshev, three-term", "#d55e00", "circle", "7 3"],
  chebyshev2: ["Chebyshev, two-term", "#0072b2", "square", "2 2"],
  kalman: ["Φ −= g uᵀ", "#d55e00", "circle", "7 3"], "kalman-outer": ["Φ −= w wᵀ", "#0072b2", "square", ""],
};
const series = (name, points) => ({ label: LOOKS[name][0], colour: LOOKS[name][1], marker: LOOKS[name][2], dash: LOOKS[name][3], points });
const errorBars = (out, names) => {
  const values = tableFrom(out, "of").find(row => row[0] === "median").slice(1);
  return ["x", "o", "dk", "dalpha"].map((label, i) => ({ label, values: names.map((_, j) => Number(values[names.length * i + j])) }));
};

const PAGES = [
  {
    id: "memory", lesson: 1, title: "How much of a stored pair comes back?",
    text: "n pairs lie in one state of D = 32 rows. The ridge regression answers the key of a pair with a share of its own " +
      "value and with something of the others. The share is freedom/n on the average, freedom = tr H (H + λI)⁻¹: at most D.",
    controls: [KEYS, TOKENS, RATIO, GATE],
    command: v => ["spectrum", ...made(v), ...KEYS_F32, "--D=32", "--T=" + v.T, "--ridge=" + v.ridge],
    read: r => {
      const along = tableFrom(r.out, "t").map(row => row.map(Number)), last = along[along.length - 1];
      return { along, number: last[4], says: `freedom ${r.out.trim().split("\n").pop().trim().split(/\s+/)[4]} after ${last[0]} pairs` };
    },
    draw: d => chart({
      xlabel: "load: stored pairs / D, D = 32", ylabel: "share of its value", ylog: false, xlog: true, ymin: 0, ymax: 1.05,
      series: [{ label: "freedom/n", colour: "#0072b2", marker: "circle", points: d.along.map(r => [r[0] / 32, r[4] / r[0]]) },
        { label: "D/n: all that fits", colour: "#000", dash: "5 4", points: d.along.map(r => [r[0] / 32, Math.min(1, 32 / r[0])]) }],
    }),
  },
  {
    id: "spectrum", lesson: 2, title: "Where are the eigenvalues?",
    text: "Chebyshev iteration is told that the eigenvalues of H + λI lie between μ = λ and L = f + λ, with f the norm of H. " +
      "The condition number κ is what they really span.",
    controls: [KEYS, RATIO, TOKENS, GATE],
    command: v => ["spectrum", ...made(v), ...KEYS_F32, "--D=32", "--T=" + v.T, "--ridge=" + v.ridge],
    json: true,
    read: (r, v) => {
      const all = JSON.parse(r.files["/out.json"]), a = Number(v.ridge);
      const at = all.along.map(row => {
        const f = all.fro[row.t - 1];
        return [row.t, Math.max(row.smallest, 0) / f + a, all.lambda_max[row.t - 1] / f + a];
      });
      return { at, a, number: all.along[all.along.length - 1].kappa, says: `κ = ${tableFrom(r.out, "t").pop()[1]}, at most ${(1 + 1 / a).toPrecision(4)}` };
    },
    draw: d => chart({
      xlabel: "token t", ylabel: "eigenvalues of H + λI, over f", xlog: true, ylog: true, ymin: d.a / 1.5, ymax: 1.5 * (1 + d.a),
      lines: [[d.a, "μ = λ"], [1 + d.a, "L = f + λ"]],
      series: [{ label: "largest", colour: "#d55e00", marker: "circle", points: d.at.map(p => [p[0], p[2]]) },
        { label: "smallest", colour: "#0072b2", marker: "square", dash: "7 3", points: d.at.map(p => [p[0], p[1]]) }],
    }),
  },
  {
    id: "bits", lesson: 3, title: "A format of your own",
    text: "The same system, solved in a format of p bits with e bits of exponent. The error falls until the format lets it " +
      "fall no further: somewhere between u and u κ.",
    controls: [BITS, EXPONENT, number("where", "what is short", ["everything", "operands"], "everything",
      "Everything in the format, or only the operands of products, with all else in fp32."), KEYS],
    command: v => ["solve", "--problem=" + v.keys, "--plain", "--D=32", "--T=64", "--solver=cg,chebyshev,chebyshev2",
      `--arith=p${v.p}e${v.e}${v.where === "operands" ? "-mixed" : ""}`],
    trace: true,
    read: (r, v) => solved(r, ["cg", "chebyshev", "chebyshev2"], 5, 6, "error of x", 2 ** -v.p),
    draw: d => chart({ xlabel: "step", ylabel: "relative error of x", ylog: true, series: d.series, lines: [[d.u, "u"], [d.u * d.kappa, "u κ"]] }),
  },
  {
    id: "solvers", lesson: 4, title: "Three iterations, one system",
    text: "CG and the two forms of Chebyshev iteration. In real numbers the two forms are the same polynomial. Drag a and r, " +
      "then make the words short.",
    controls: [RATIO, STEPS, ARITH, KEYS],
    command: v => ["solve", "--problem=" + v.keys, "--plain", "--D=32", "--T=64", "--solver=cg,chebyshev,chebyshev2",
      "--arith=" + v.arith, "--ridge=" + v.ridge, "--iters=" + v.iters],
    trace: true,
    read: r => solved(r, ["cg", "chebyshev", "chebyshev2"], 3, 4, "residual"),
    draw: d => chart({ xlabel: "step", ylabel: "residual over |q|", ylog: true, series: d.series, lines: [] }),
  },
  {
    id: "kalman", lesson: 4, title: "A Kalman filter, token by token",
    text: "The recursion keeps Φ = (H + λI)⁻¹. Its two orders of evaluation are equal in real numbers. In one of them an " +
      "antisymmetric part grows at every token that forgets; where it is as large as Φ the answer is lost.",
    controls: [number("T", "tokens T", [32, 64, 128, 192, 256], 128, "The defect grows like 1/γ^t."),
      number("gate", "gates", ["none", "slow", "released", "strong"], "released", GATE.says), BITS, EXPONENT],
    command: v => ["solve", "--problem=iid", ...(v.gate === "none" ? ["--plain"] : ["--gate=" + v.gate]), "--D=16", "--T=" + v.T,
      "--solver=kalman,kalman-outer", `--arith=p${v.p}e${v.e}`],
    trace: true,
    read: r => solved(r, ["kalman", "kalman-outer"], 6, 6, "error of x at the end"),
    draw: d => chart({
      xlabel: "token t", ylabel: "asymmetry of Φ, over |Φ|", ylog: true, series: d.series, lines: [[1, "as large as Φ"]],
      note: "Φ −= w wᵀ: no asymmetry at any token",
    }),
  },
  {
    id: "chunk", lesson: 5, title: "Where does a rounding go?",
    text: "The chunk algorithm as an H100 computes it, and the same with one of its roundings made exact. What does the " +
      "output x notice of it, and what the gradients?",
    controls: [POINT, RATIO, KEYS, GATE],
    command: v => ["verify", `--emulate=h100,h100/${v.point}=exact`, ...made(v), "--D=32", "--T=16", "--chunk=16", "--ridge=" + v.ridge],
    read: r => barred(r, ["as released", "without that rounding"]),
    draw: (d, v) => bars(d, "made exact: " + ROUNDINGS[v.point]),
  },
  {
    id: "kernel", lesson: 6, title: "What would an H100 return?",
    text: "Errors of the released kernels (three-term) and of the two-term form, rounding by rounding as the GPU computes " +
      "them, against the exact answer with its proof. Does x tell you whether dk is right?",
    controls: [RATIO, number("iters", "steps r", [10, 15, 20, 30], 30, "As many products in either form."), KEYS, GATE],
    command: v => ["verify", "--emulate=h100,h100/two-term", ...made(v), "--D=32", "--T=32", "--chunk=32", "--ridge=" + v.ridge,
      "--iters=" + v.iters],
    read: r => barred(r, ["three-term", "two-term"]),
    draw: d => bars(d, "relative errors"),
  },
];

function solved(r, names, traceColumn, column, what, u) {
  const table = tableFrom(r.out, "solver"), points = trace(r.files["/trace.csv"]);
  const of = name => table.find(row => row[0] === name);
  return {
    u, kappa: Number(of(names[0])[2]), number: Number(of(names[names.length - 1])[column]),
    says: what + ": " + names.map(name => `${LOOKS[name][0]} ${of(name)[column]}`).join(", "),
    series: names.map(name => series(name, points.filter(p => p[0] === name).map(p => [Number(p[2]), Number(p[traceColumn])]))),
  };
}

function barred(r, names) {
  const all = errorBars(r.out, names), dk = all[2].values, groups = all.filter(g => g.values.some(Number.isFinite));
  return { names, groups, number: dk[1], says: `error of dk: ${names[0]} ${shown(dk[0])}, ${names[1]} ${shown(dk[1])}` };
}

const shown = x => (Number.isFinite(x) ? x.toExponential(2).replace(/e([+-])(\d)$/, "e$10$2") : String(x));

/* ---- 2 charts ------------------------------------------------------------------------------- */

const W = 480, H = 320, LEFT = 62, RIGHT = 14, TOP = 34, BOTTOM = 46;
const SVG = "http://www.w3.org/2000/svg";
function element(name, attributes, text) {
  const e = document.createElementNS(SVG, name);
  for (const key in attributes) e.setAttribute(key, attributes[key]);
  if (text !== undefined) e.textContent = text;
  return e;
}
const finite = (x, log) => Number.isFinite(x) && (!log || x > 0);

function scale(values, log, from, to, low, high) {
  let least = low ?? Math.min(...values), most = high ?? Math.max(...values);
  if (!(least < most)) [least, most] = log ? [least / 2, least * 2] : [least - 1, least + 1];
  if (log && low === undefined) [least, most] = [10 ** Math.floor(Math.log10(least)), 10 ** Math.ceil(Math.log10(most))];
  const f = log ? Math.log : x => x;
  const place = x => from + (to - from) * (f(Math.min(Math.max(x, least), most)) - f(least)) / (f(most) - f(least));
  const ticks = [];
  if (log) {
    const decades = Math.ceil(Math.log10(most / least)), every = Math.max(1, Math.ceil(decades / 6));
    for (let k = Math.ceil(Math.log10(least) - 1e-9); 10 ** k <= most * 1.0001; k += every) ticks.push(10 ** k);
    if (ticks.length < 2) ticks.splice(0, 9, least, most);
  } else {
    const step = 10 ** Math.floor(Math.log10((most - least) / 2)), wide = (most - least) / step > 8 ? 5 * step : (most - least) / step > 4 ? 2 * step : step;
    for (let x = Math.ceil(least / wide) * wide; x <= most * 1.0001; x += wide) ticks.push(x);
  }
  return { place, ticks };
}
const tickText = x => (x === 0 ? "0" : Math.abs(x) >= 1e4 || Math.abs(x) < 1e-3 ? x.toExponential(0) : String(+x.toPrecision(2)));

function mark(svg, kind, x, y, colour) {
  if (kind === "circle") svg.append(element("circle", { cx: x, cy: y, r: 3.6, fill: colour }));
  if (kind === "square") svg.append(element("rect", { x: x - 3.2, y: y - 3.2, width: 6.4, height: 6.4, fill: colour }));
  if (kind === "triangle") svg.append(element("path", { d: `M${x} ${y - 4.4}l4.4 7.6h-8.8z`, fill: colour }));
}

function frame(xlabel, ylabel) {
  const svg = element("svg", { viewBox: `0 0 ${W} ${H}`, role: "img" });
  svg.append(element("rect", { x: LEFT, y: TOP, width: W - LEFT - RIGHT, height: H - TOP - BOTTOM, fill: "none", stroke: "#999" }));
  svg.append(element("text", { x: (LEFT + W - RIGHT) / 2, y: H - 8, "text-anchor": "middle" }, xlabel));
  svg.append(element("text", { transform: `translate(14 ${(TOP + H - BOTTOM) / 2}) rotate(-90)`, "text-anchor": "middle" }, ylabel));
  return svg;
}

function legend(svg, entries) {
  let x = LEFT;
  for (const e of entries) {
    if (e.bar) svg.append(element("rect", { x, y: 12, width: 22, height: 10, fill: e.colour, stroke: "#000" }));
    else svg.append(element("line", { x1: x, x2: x + 22, y1: 17, y2: 17, stroke: e.colour, "stroke-width": 2, "stroke-dasharray": e.dash || "" }));
    mark(svg, e.marker, x + 11, 17, e.colour);
    svg.append(element("text", { x: x + 26, y: 21, class: "small" }, e.label));
    x += 40 + 6.4 * e.label.length;
  }
}

function chart(c) {
  const svg = frame(c.xlabel, c.ylabel), lines = c.lines || [];
  const drawn = c.series.map(s => ({ ...s, points: s.points.filter(p => finite(p[0], c.xlog) && finite(p[1], c.ylog)) }));
  const xs = drawn.flatMap(s => s.points.map(p => p[0])), ys = drawn.flatMap(s => s.points.map(p => p[1])).concat(lines.map(l => l[0]));
  if (xs.length === 0) xs.push(0, 1);
  if (ys.length === 0) ys.push(.1, 1);
  const X = scale(xs, c.xlog, LEFT + 8, W - RIGHT - 8, c.xlog ? Math.min(...xs) : undefined, c.xlog ? Math.max(...xs) : undefined);
  const Y = scale(ys, c.ylog, H - BOTTOM - 6, TOP + 6, c.ymin, c.ymax);
  for (const t of X.ticks) svg.append(element("text", { x: X.place(t), y: H - BOTTOM + 16, "text-anchor": "middle", class: "small" }, tickText(t)));
  for (const t of Y.ticks) {
    svg.append(element("line", { x1: LEFT, x2: W - RIGHT, y1: Y.place(t), y2: Y.place(t), stroke: "#e2e2e2" }));
    svg.append(element("text", { x: LEFT - 5, y: Y.place(t) + 4, "text-anchor": "end", class: "small" }, tickText(t)));
  }
  for (const [y, label] of lines) {
    svg.append(element("line", { x1: LEFT, x2: W - RIGHT, y1: Y.place(y), y2: Y.place(y), stroke: "#000", "stroke-dasharray": "5 4" }));
    const at = Y.place(y) - 4; // above its line, but not across the frame
    svg.append(element("text", { x: W - RIGHT - 4, y: at < TOP + 12 ? at + 18 : at, "text-anchor": "end", class: "small" }, label));
  }
  for (const s of drawn) {
    svg.append(element("polyline", { points: s.points.map(p => `${X.place(p[0])},${Y.place(p[1])}`).join(" "), fill: "none",
      stroke: s.colour, "stroke-width": 2, "stroke-dasharray": s.dash || "" }));
    const every = Math.max(1, Math.ceil(s.points.length / 12));
    s.points.forEach((p, i) => { if (i % every === 0) mark(svg, s.marker, X.place(p[0]), Y.place(p[1]), s.colour); });
  }
  legend(svg, c.series);
  if (c.note && drawn.some(s => s.points.length === 0)) svg.append(element("text", { x: LEFT + 8, y: TOP + 18, class: "small" }, c.note));
  return svg;
}

/* Errors as bars from 1e-5 on, a pair for each output that has one (dalpha has none without alpha). */
function bars(d, title) {
  const svg = frame("output", "relative error"), colours = ["#d55e00", "#56b4e9"];
  const values = d.groups.flatMap(g => g.values).filter(x => finite(x, true));
  const Y = scale(values, true, H - BOTTOM, TOP + 4, 1e-5, 20 * Math.max(1, ...values));
  for (const t of Y.ticks) {
    svg.append(element("line", { x1: LEFT, x2: W - RIGHT, y1: Y.place(t), y2: Y.place(t), stroke: "#e2e2e2" }));
    svg.append(element("text", { x: LEFT - 5, y: Y.place(t) + 4, "text-anchor": "end", class: "small" }, tickText(t)));
  }
  const room = (W - LEFT - RIGHT) / d.groups.length;
  d.groups.forEach((g, i) => {
    g.values.forEach((y, j) => {
      const x = LEFT + room * i + room * (.14 + .36 * j), top = finite(y, true) ? Y.place(y) : TOP + 4;
      svg.append(element("rect", { x, y: top, width: room * .34, height: H - BOTTOM - top, fill: colours[j], stroke: "#000" }));
      svg.append(element("text", { x: x + room * .17, y: top - 3, "text-anchor": "middle", class: "tiny" }, shown(y)));
    });
    svg.append(element("text", { x: LEFT + room * (i + .5), y: H - BOTTOM + 16, "text-anchor": "middle", class: "small" }, g.label));
  });
  legend(svg, d.names.map((label, j) => ({ label, colour: colours[j], bar: true })));
  svg.append(element("title", {}, title));
  return svg;
}

/* ---- 3 the worker --------------------------------------------------------------------------- */

const worker = new Worker(URL.createObjectURL(new Blob([document.getElementById("worker").textContent], { type: "text/javascript" })));
const waiting = new Map();
let busy = null;
function next() {
  if (busy !== null || waiting.size === 0) return;
  const [id, request] = waiting.entries().next().value;
  waiting.delete(id);
  busy = request;
  worker.postMessage({ id, args: request.args, files: request.files });
}
/* Only a page's newest request is run. */
function ask(id, args, files, done) {
  waiting.set(id, { id, args, files, done, asked: performance.now() });
  next();
}
worker.onmessage = event => {
  const { done, id, asked } = busy;
  busy = null;
  if (!waiting.has(id)) done(event.data, performance.now() - asked);
  next();
};

/* ---- 4 on the screen ------------------------------------------------------------------------ */

function html(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const key in attributes) e.setAttribute(key, attributes[key]);
  e.append(...children);
  return e;
}

/* A slider over the control's values, or a list where they are words. */
function control(page, c, changed) {
  const id = `${page.id}-${c.name}`, words = typeof c.values[0] === "string";
  const out = html("output", { for: id });
  const input = words
    ? html("select", { id, "data-name": c.name }, ...c.values.map(v => html("option", { value: v }, v)))
    : html("input", { id, "data-name": c.name, type: "range", min: 0, max: c.values.length - 1, step: 1 });
  input.value = words ? c.start : c.values.indexOf(c.start);
  const value = () => (words ? input.value : c.values[Number(input.value)]);
  const say = () => {
    out.textContent = words ? "" : String(value());
    if (!words) input.setAttribute("aria-valuetext", String(value()));
  };
  input.addEventListener("input", () => { say(); changed(c); });
  say();
  return { c, value, element: html("div", { class: "control" }, html("label", { for: id }, c.label, " ", out), input) };
}

function show(page, place) {
  const picture = html("div", { class: "picture" }), figure = html("p", { class: "number", "aria-live": "polite" });
  const hint = html("p", { class: "hint", "aria-live": "polite" });
  const command = html("code", { tabindex: 0, role: "group", "aria-label": "the command" });
  const printed = html("pre", { tabindex: 0, role: "group", "aria-label": "what the command prints" });
  const copy = html("button", { type: "button" }, "Copy the command");
  copy.addEventListener("click", () => navigator.clipboard && navigator.clipboard.writeText(command.textContent));
  const update = c => {
    const v = Object.fromEntries(controls.map(x => [x.c.name, x.value()])), args = page.command(v);
    if (c) hint.textContent = c.says;
    command.replaceChildren("gka", ...args.flatMap(text => [" ", html("span", {}, text)]));
    const files = [...(page.trace ? ["/trace.csv"] : []), ...(page.json ? ["/out.json"] : [])];
    const more = [...(page.trace ? ["--trace=/trace.csv"] : []), ...(page.json ? ["--json=/out.json"] : [])];
    place.dataset.state = "busy";
    ask(page.id, [...args, ...more], files, (r, ms) => {
      printed.textContent = r.out + r.err;
      if (r.code === 0) {
        const d = page.read(r, v), svg = page.draw(d, v);
        svg.setAttribute("aria-label", `${page.title} ${d.says}`);
        picture.replaceChildren(svg);
        figure.textContent = d.says;
        place.dataset.number = d.number;
      } else {
        picture.replaceChildren();
        figure.textContent = "Refused: " + r.err;
      }
      place.dataset.code = r.code;
      place.dataset.ms = ms.toFixed(1);
      place.dataset.run = r.ms.toFixed(1);
      place.dataset.command = command.textContent;
      place.dataset.asked = JSON.stringify([...args, ...more]);
      place.dataset.state = "done";
    });
  };
  const controls = page.controls.map(c => control(page, c, update));
  place.append(html("h2", {}, `Lesson ${page.lesson}. ${page.title}`), html("p", {}, page.text), picture, figure,
    html("div", { class: "controls", role: "group", "aria-label": "controls of this picture" }, ...controls.map(c => c.element)), hint,
    html("p", { class: "command" }, command, " ", copy),
    html("details", {}, html("summary", {}, "What the command prints"), printed));
  update();
}

for (const page of PAGES) {
  const place = html("section", { id: page.id });
  document.getElementById("pages").append(place);
  document.getElementById("contents").append(html("li", {}, html("a", { href: "#" + page.id }, page.title)));
  show(page, place);
}
