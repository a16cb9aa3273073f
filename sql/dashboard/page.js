// SPDX-License-Identifier: EPL-1.0+
//
// The page. It asks the server that it came from (api/VERB, see `python backtick.py VERB --help`) and nobody else, and
// shows what is answered as text, never as markup.
//
// From top to bottom: what is asked · what is drawn (h, morph) · words, numbers, times · pieces · plots · pages · the frame.
// A page has a title and a function that asks, and returns what is to be seen; it is called anew when something has changed,
// and morph() alters what differs, so what is selected, typed or scrolled stays.
"use strict";

// ---- What is remembered -------------------------------------------------------

const state = {
  me: null, may: new Set(), page: null, where: "", chosen: new Set(), rows: [], paused: false, away: "", mark: null,
  skew: 0, sql: [], samples: new Map(), words: {}, asking: 0, asked: 0, due: 0, live: null, openSql: false, failed: "",
};
const $ = (id) => document.getElementById(id);
// Of all tabs together; where the browser keeps nothing, of none.
const kept = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
const keep = (name, value) => { try { if (value) localStorage.setItem(name, value); else localStorage.removeItem(name); } catch { /* not kept */ } };
if (kept("theme")) document.documentElement.dataset.theme = kept("theme");

// ---- What is asked ------------------------------------------------------------

class Refused extends Error { constructor(status, text) { super(text); this.status = status; } }

// Numbers of 16 digits or more as text, for a double has no room for them; what stands in texts is left alone.
const parse = (text) => JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (t) => /^-?\d{16,}$/.test(t) ? `"${t}"` : t));

async function ask(path, options) {
  let answer;
  try { answer = await fetch(`api/${path}`, options); } catch { throw new Refused(0, "the server of this page does not answer"); }
  const text = await answer.text();
  let found;
  try { found = parse(text); } catch { throw new Refused(answer.status, "the answer is not understood"); }
  if (!answer.ok) throw new Refused(answer.status, found.error);
  return found;
}

const query = (given) => {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(given)) if (value !== undefined && value !== null && value !== "") words.append(name, value);
  return words.toString();
};

// The rows that a verb returns; what it says beside them is in .notices.
async function look(verb, given = {}) {
  const found = await ask(`${verb}?${query(given)}`);
  state.skew = Date.parse(found.now.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00")) - Date.now();
  state.sql.push(found.sql);
  Object.assign(state.words, found.words);
  found.rows.notices = found.notices;
  return found.rows;
}

const change = (verb, given) => ask(verb, {
  method: "POST", headers: { "Content-Type": "application/json", "X-Backtick": "1" }, body: JSON.stringify(given),
});

// Whether the database would let us call a function, so that no button is shown which is refused.
const may = (name) => state.may.has(name);

// ---- What is drawn ------------------------------------------------------------

const SVG = new Set(["svg", "g", "path", "rect", "line", "circle", "text", "title", "polyline"]);

function h(tag, given, ...children) {
  const is = tag.startsWith("svg:") ? tag.slice(4) : "";
  const made = is ? document.createElementNS("http://www.w3.org/2000/svg", is) : document.createElement(tag);
  for (const [name, value] of Object.entries(given || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) { made[name] = value; (made.heard ||= []).push(name); }
    else if (name === "value" || name === "checked") { made[name] = value; made.setAttribute(name === "checked" ? "data-checked" : "data-value", value); }
    else made.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined && child !== false) made.append(child);
  if (tag === "select" && given && given.value !== undefined) made.value = given.value;
  return made;
}

// Make `old` look like `made`, touching only what differs.
function morph(old, made) {
  if (old.nodeType !== made.nodeType || old.nodeName !== made.nodeName || key(old) !== key(made)) { old.replaceWith(made); return; }
  if (old.nodeType === Node.TEXT_NODE) { if (old.data !== made.data) old.data = made.data; return; }
  for (const { name } of [...old.attributes]) if (!made.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  for (const { name, value } of [...made.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const name of new Set([...(old.heard || []), ...(made.heard || [])])) old[name] = made[name] || null;
  old.heard = made.heard;
  if (old.dataset && "stay" in old.dataset) return;
  children(old, [...made.childNodes]);
  if (old.nodeName === "INPUT" && old.type === "checkbox") old.checked = made.checked;
  else if ((old.nodeName === "INPUT" || old.nodeName === "SELECT") && old !== document.activeElement) old.value = made.value;
}

const key = (node) => (node.getAttribute && node.getAttribute("data-key")) || "";

function children(old, wanted) {
  const known = new Map();
  for (const child of old.childNodes) if (key(child)) known.set(key(child), child);
  let next = old.firstChild;
  for (const child of wanted.filter(Boolean)) {
    const same = key(child) ? known.get(key(child)) : next && !key(next) && next.nodeName === child.nodeName ? next : null;
    if (same) {
      if (same === next) next = next.nextSibling; else old.insertBefore(same, next);
      morph(same, child);
    } else old.insertBefore(child, next);
  }
  while (next) { const gone = next; next = next.nextSibling; gone.remove(); }
}

// ---- Words, numbers, times ------------------------------------------------------

const now = () => Date.now() + state.skew;
const number = (n) => n === null || n === undefined ? "" : String(n).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
const about = (row, name) => ((row.about || []).includes(name) ? "~\u2009" : "") + number(row[name]);
const plural = (n, one, many) => `${number(n)} ${Number(n) === 1 ? one : many || `${one}s`}`;
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

function span(seconds) {
  const s = Math.abs(seconds);
  if (s < 1) return "0 s";
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) if (s >= 2 * size || (unit === "min" && s >= size)) return `${Math.floor(s / size)} ${unit}`;
  return `${Math.floor(s)} s`;
}
const ageOf = (at) => { const s = (now() - at) / 1000; return Math.abs(s) < 1 ? "now" : s >= 0 ? `${span(s)} ago` : `in ${span(s)}`; };
const local = (at, tz) => new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium", timeZone: tz }).format(at);

// A time as an age; when exactly shows as one points at it, in the viewer's zone and in UTC.
function age(text, exact) {
  if (!text) return "";
  const at = Date.parse(text);
  const told = `${local(at)} ${zone} · ${local(at, "UTC")} UTC`;
  return h("time", { datetime: text, title: exact ? ageOf(at) : told, "data-at": exact ? null : at }, exact ? told : ageOf(at));
}

function took(ms) {
  if (ms === null || ms === undefined) return "";
  const exact = `${number(ms)} ms`;
  const shown = ms < 1000 ? exact : ms < 60000 ? `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s` : span(ms / 1000);
  return h("span", { title: exact }, shown);
}

// An interval as PostgreSQL writes it, 00:01:00, in words if it is short enough for that.
function period(text) {
  const found = text.match(/^(\d\d):(\d\d):(\d\d)$/);
  return found ? span(found[1] * 3600 + found[2] * 60 + Number(found[3])) : text;
}

const SIGNS = {
  queued: ["grey", "○", "queued"], retrying: ["amber", "↻", "retrying"], running: ["blue", "▶", "running"], done: ["green", "✓", "done"],
  exceeded: ["red", "✕", "exceeded"], canceled: ["grey", "⊘", "canceled"], error: ["red", "✕", "error"], warning: ["amber", "!", "warning"],
  note: ["grey", "i", "note"], paused: ["amber", "‖", "paused"], on: ["green", "✓", "on"], late: ["red", "!", "late"], off: ["grey", "⊘", "off"],
  "no worker": ["red", "?", "no worker"], idle: ["grey", "○", "idle"], awake: ["blue", "▶", "awake"], draining: ["amber", "↓", "draining"],
  dead: ["red", "✕", "dead"], snapshot: ["amber", "!", "snapshot"],
};
const sign = (what) => { const [colour, mark, word] = SIGNS[what] || ["grey", "·", what]; return h("span", { class: `state ${colour}` }, h("span", { "aria-hidden": "true" }, mark), word); };

// Names may hold anything, letters that run from right to left among them: each keeps to itself.
const bdi = (text) => h("bdi", { class: "isolate" }, text);
const link = (page, given, ...shown) => h("a", { href: `#/${page}${given && query(given) ? `?${query(given)}` : ""}` }, ...shown);
const jobLink = (id) => link(`job/${id}`, null, String(id));
const queueLink = (name) => link("jobs", { queue: name, state: "queued" }, bdi(name));
const workerLink = (name, more) => link("jobs", { name, ...more }, bdi(name));

// ---- Pieces ---------------------------------------------------------------------

const title = (text, ...more) => h("div", { class: "head" }, h("h1", null, text), h("div", { class: "row" }, ...more));
const card = (head, ...inside) => h("section", { class: "card", "data-key": typeof head === "string" ? head : null },
  head && h("header", null, typeof head === "string" ? h("h2", null, head) : head), ...inside);
const empty = (...what) => h("p", { class: "empty" }, ...what);
const notices = (rows) => (rows.notices || []).map(([text]) => h("p", { class: "note" }, text, "."));
const button = (text, onclick, kind = "plain", more) => h("button", { type: "button", class: kind, onclick, ...more }, text);

// columns: [head, cell of a row, class]; a row's key keeps it the same from one look to the next
function table(name, columns, rows, keyOf, more = () => null) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name },
    h("table", null,
      h("thead", null, h("tr", null, columns.map(([head, , kind]) => h("th", { scope: "col", class: kind }, head)))),
      h("tbody", null, rows.map((row) => h("tr", { "data-key": keyOf(row), ...more(row) },
        columns.map(([, cell, kind]) => { const shown = cell(row); return h("td", { class: kind, title: /name|wide/.test(kind || "") && typeof shown === "string" ? shown : null }, shown); }))))));
}

function sqlOf() {
  const texts = [...new Set(state.sql)];
  return h("details", { class: "sql", "data-key": "sql" }, h("summary", null, "The SQL of this page"),
    h("div", { class: "sql-more" }, texts.map((text) => copyable(`${text};`))));
}

const copyable = (text) => h("div", { class: "copy" }, h("pre", { tabindex: "0" }, text), button("Copy", async () => {
  try { await navigator.clipboard.writeText(text); toast("Copied"); } catch { toast("The browser does not let this page copy", null, true); }
}));

function toast(text, more, isBad) {
  const made = h("div", { class: `toast${isBad ? " bad" : ""}` }, h("span", null, text, more ? " " : "", more), button("✕", () => made.remove(), "", { "aria-label": "Dismiss" }));
  $("toasts").append(made);
  setTimeout(() => made.remove(), isBad ? 20000 : 9000);
}

// A dialog; resolves to what was typed, or null.
function dialog(head, fields, does, isDanger) {
  const box = $("dialog");
  return new Promise((resolve) => {
    const form = h("form", { onsubmit: (event) => { event.preventDefault(); resolve(Object.fromEntries(new FormData(form))); box.close(); } },
      h("h2", { id: "dialog-title" }, head), fields,
      h("div", { class: "row" }, button("Not now", () => box.close(), ""), h("button", { type: "submit", class: `first${isDanger ? " danger" : ""}` }, does)));
    box.replaceChildren(form);
    box.onclose = () => { resolve(null); box.replaceChildren(); };
    box.showModal();
  });
}

async function attempt(what) {
  try { await what(); } catch (error) { if (error.status === 401) return begin(); toast(error.message, null, true); }
  refresh();
}

// ---- Plots ----------------------------------------------------------------------

function ticks(most) {
  const raw = most / 3 || 1, size = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].find((n) => n * size >= raw) * size;
  const found = [];
  for (let n = 0; n < most + step; n += step) found.push(+n.toPrecision(6));
  return found;
}
const short = (n) => n >= 1e6 ? `${+(n / 1e6).toFixed(1)} M` : n >= 1e4 ? `${+(n / 1e3).toFixed(1)} k` : String(+n.toFixed(3));

// times: of the steps; series: {name, colour, values, dashed}; bars stand on each other, lines do not
function plot(name, unit, times, series, isBars) {
  const W = 560, H = 170, left = 44, right = 8, top = 8, bottom = 22;
  const sums = times.map((_, i) => isBars ? series.reduce((sum, one) => sum + (one.values[i] || 0), 0) : Math.max(0, ...series.map((one) => one.values[i] || 0)));
  const marks = ticks(Math.max(...sums) || 1), most = marks[marks.length - 1] || 1;
  const x = (i) => left + (W - left - right) * (times.length > 1 ? (i + (isBars ? 0.5 : 0)) / (times.length - (isBars ? 0 : 1)) : 0.5);
  const y = (v) => top + (H - top - bottom) * (1 - v / most);
  const wide = Math.max(1, (W - left - right) / times.length - 1.5);
  const day = times.length > 1 && times[times.length - 1] - times[0] > 26 * 3600e3;
  const clock = (t) => new Intl.DateTimeFormat("sv-SE", day ? { day: "numeric", month: "numeric", hour: "2-digit" } : { hour: "2-digit", minute: "2-digit" }).format(t);
  const drawn = [];
  for (const mark of marks) drawn.push(h("svg:line", { class: "axis", x1: left, x2: W - right, y1: y(mark), y2: y(mark) }), h("svg:text", { x: left - 6, y: y(mark) + 4, "text-anchor": "end" }, short(mark)));
  for (const n of [0, 1, 2, 3, 4]) { const i = Math.round(n * (times.length - 1) / 4); if (times[i]) drawn.push(h("svg:text", { x: x(i), y: H - 5, "text-anchor": n === 0 ? "start" : n === 4 ? "end" : "middle" }, clock(times[i]))); }
  const below = times.map(() => 0);
  for (const one of series) {
    if (isBars) drawn.push(...times.map((_, i) => { const v = one.values[i] || 0; below[i] += v; return v ? h("svg:rect", { class: `f-${one.colour}`, x: x(i) - wide / 2, y: y(below[i]), width: wide, height: Math.max(0.75, y(below[i] - v) - y(below[i])), rx: Math.min(1.5, wide / 4) }) : null; }).filter(Boolean));
    else {
      let path = "", down = false;
      times.forEach((_, i) => { const v = one.values[i]; if (v === null || v === undefined) { down = false; return; } path += `${down ? "L" : "M"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`; if (!down && (one.values[i + 1] ?? null) === null) drawn.push(h("svg:circle", { class: `f-${one.colour}`, cx: x(i), cy: y(v), r: 1.75 })); down = true; });
      drawn.push(h("svg:path", { class: `l-${one.colour}${one.dashed ? " dashed" : ""}`, d: path }));
    }
  }
  const cursor = h("svg:line", { class: "cursor", y1: top, y2: H - bottom, x1: -9, x2: -9, visibility: "hidden", "data-key": "cursor" });
  const last = (one) => { const v = one.values.filter((n) => n !== null && n !== undefined).pop(); return v === undefined ? "–" : `${short(v)} ${unit}`; };
  const said = h("div", { class: "legend" }, series.map((one) => h("span", null, key_(one, isBars), `${one.name} `, h("b", { "data-key": one.name }, last(one)))));
  const point = (event) => {
    const svg = event.currentTarget, place = svg.getBoundingClientRect(), at = (event.clientX - place.left) / place.width * W;
    let i = Math.round((at - left) / (W - left - right) * (times.length - (isBars ? 0 : 1)) - (isBars ? 0.5 : 0));
    i = Math.max(0, Math.min(times.length - 1, i));
    const line = svg.querySelector(".cursor"); line.setAttribute("x1", x(i)); line.setAttribute("x2", x(i)); line.setAttribute("visibility", "visible");
    const shown = svg.parentNode.querySelectorAll(".legend b");
    series.forEach((one, n) => { shown[n].textContent = one.values[i] === null || one.values[i] === undefined ? "–" : `${short(one.values[i])} ${unit}`; });
    svg.closest(".card").querySelector(".when").textContent = local(times[i]).slice(5, 16);
  };
  const leave = (event) => {
    event.currentTarget.querySelector(".cursor").setAttribute("visibility", "hidden");
    event.currentTarget.closest(".card").querySelector(".when").textContent = "latest";
    event.currentTarget.parentNode.querySelectorAll(".legend b").forEach((shown, n) => { shown.textContent = last(series[n]); });
  };
  return card([h("div", { class: "row" }, h("h2", null, name), h("span", { class: "soft small" }, unit)), h("span", { class: "soft small when" }, "latest")], h("div", { class: "in plot stack" }, said,
    h("svg:svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${name}, ${unit}: ${series.map((one) => `${one.name} ${last(one)}`).join(", ")}`, onpointermove: point, onpointerleave: leave }, drawn, cursor)));
}
const key_ = (one, isBars) => h("svg:svg", { width: 14, height: 8, "aria-hidden": "true" }, isBars ? h("svg:rect", { class: `f-${one.colour}`, width: 8, height: 8, x: 3, rx: 2 }) : h("svg:path", { class: `l-${one.colour}${one.dashed ? " dashed" : ""}`, d: "M0 4h14" }));

function spark(values, colour = "accent", told = "") {
  const most = Math.max(1, ...values), w = 96 / Math.max(1, values.length);
  return h("svg:svg", { class: "spark", viewBox: "0 0 96 20", preserveAspectRatio: "none", role: "img", "aria-label": `${told} ${values.join(", ")}` },
    h("svg:rect", { class: "f-sunk", x: 0, y: 19, width: 96, height: 1 }),
    values.map((v, i) => v ? h("svg:rect", { class: `f-${colour}`, x: (i * w + 0.5).toFixed(2), width: Math.max(1, w - 1).toFixed(2), y: (20 - Math.max(1.5, 20 * v / most)).toFixed(2), height: Math.max(1.5, 20 * v / most).toFixed(2) }) : null));
}

const bar = (share, told, colour = "accent") => h("svg:svg", { class: "bar", viewBox: "0 0 96 8", preserveAspectRatio: "none", role: "img", "aria-label": told },
  h("svg:rect", { class: "f-sunk", width: 96, height: 8, rx: 4 }), share > 0 && h("svg:rect", { class: `f-${colour}`, width: Math.max(3, 96 * Math.min(1, share)).toFixed(1), height: 8, rx: 4 }));

// Numbers over time: steps that nothing was noted in count nothing. Older than a day they are by the hour.
const SPANS = { "1h": ["1min", 60, 60], "6h": ["5min", 300, 72], "24h": ["20min", 1200, 72], "7d": ["2h", 7200, 84] };
async function overTime(range, given) {
  const [step, seconds, count] = SPANS[range] || SPANS["1h"];
  const from = Math.floor(now() / 60000) * 60000 - (count - 1) * seconds * 1000;
  const rows = await look("stats", { ...given, from: new Date(from).toISOString(), step });
  const times = Array.from({ length: count }, (_, i) => from + i * seconds * 1000);
  return { rows, times, minutes: seconds / 60, place: (row) => Math.round((Date.parse(row.at) - from) / 1000 / seconds) };
}

// For sparklines: what was done in each twelfth of the last hour, by queue or worker.
async function lastHour(by) {
  const from = Math.floor(now() / 60000) * 60000 - 59 * 60000, found = new Map();
  for (const row of await look("stats", { by, from: new Date(from).toISOString(), step: "5min", brief: true })) {
    const name = row[by], place = Math.floor((Date.parse(row.at) - from) / 300000);
    if (!found.has(name)) found.set(name, { done: Array(12).fill(0), bad: Array(12).fill(0) });
    found.get(name).done[place] += row.done + row.exceeded + row.canceled;
    found.get(name).bad[place] += row.failed;
  }
  return found;
}

// ---- Pages ----------------------------------------------------------------------

// Only some of a long list at once, or the browser is at it for long.
const MOST = 200;
function some(rows, shown, what) {
  const wanted = route().given.all ? rows : rows.slice(0, MOST);
  return [shown(wanted), rows.length > wanted.length && h("p", { class: "in small" }, `${number(wanted.length)} of ${plural(rows.length, what)}. `,
    h("a", { href: `#/${route().name}?${query({ ...route().given, all: 1 })}` }, "Show all"))];
}

async function overview({ given }) {
  const range = given.range || "1h";
  const [[status], runners, schedules, time, states] = await Promise.all([
    look("status"), look("runners"), look("schedules", { fires: 1 }), overTime(range, { by: "all", queue: given.queue, worker: given.worker }), look("states")]);
  const of = Object.fromEntries(states.map((row) => [row.state, row]));
  const { rows, times, minutes, place } = time;
  const column = (name, none = null, per = 1) => { const found = times.map(() => none); for (const row of rows) if (times[place(row)] !== undefined) found[place(row)] = row[name] === null ? none : row[name] / per; return found; };
  const rate = (name) => column(name, 0, minutes);
  const tile = (what, value, href, more) => h(href ? "a" : "div", { class: "card tile", href }, h("div", { class: "what" }, what), h("div", { class: `value ${more || ""}` }, value));
  const live = status.runners, hour = status.last_hour || {};
  const late = schedules.filter((row) => row.state !== "on"), soon = schedules.filter((row) => row.next_at).sort((a, b) => a.next_at < b.next_at ? -1 : 1);
  const many = (n) => (n >= 10000 ? "~\u2009" : "") + number(n || 0);
  return [
    title("Overview", h("span", { class: "soft small" }, status.database)),
    card("What needs attention", (status.attention || []).length || status.snapshot
      ? h("ul", { class: "wants" }, (status.attention || []).map((want) => h("li", null, sign(want.what), h("span", null, want.sentence))),
        status.snapshot && h("li", null, sign("snapshot"), h("span", null, `Session ${status.snapshot.pid} of ${status.snapshot.user || "somebody"} holds a snapshot since `, age(status.snapshot.since), ": dead rows cannot be removed. ", link("database", null, "What to do"))))
      : empty("✓ Nothing. Jobs run, schedules fire, and whatever is due has a runner.")),
    h("div", { class: "tiles" },
      tile("Queued", of.queued ? about(of.queued, "jobs") : "", "#/jobs?state=queued"), tile("Running", number(of.running && of.running.jobs), "#/jobs?state=running"),
      tile("Done in 1 h", many(hour.done), "#/jobs?state=done&since=1h"), tile("Exceeded in 1 h", many(hour.exceeded), "#/failures", hour.exceeded ? "bad" : ""),
      tile("Runners", number(live.living), "#/runners", live.living ? "" : "bad"), tile("Slots in use", live.slots ? `${number(live.jobs)} / ${number(live.slots)}` : number(live.jobs), "#/runners")),
    h("div", { class: "head" }, h("h2", null, "Over time"), h("div", { class: "row" }, rangeTabs(range, given),
      picker("queue", given), picker("worker", given))),
    h("div", { class: "grid two" },
      plot("Throughput", "/ min", times, [{ name: "done", colour: "accent", values: rate("done") }, { name: "exceeded", colour: "red", values: rate("exceeded") }, { name: "canceled", colour: "grey", values: rate("canceled") }], true),
      plot("Failed tries", "/ min", times, [{ name: "tried again", colour: "amber", values: rate("retried") }, { name: "out of tries", colour: "red", values: rate("exceeded") }, { name: "runner died", colour: "grey", values: rate("crashed") }], true),
      plot("Run time", "s", times, [{ name: "half", colour: "blue", values: column("run_p50") }, { name: "95 %", colour: "blue", dashed: true, values: column("run_p95") }]),
      plot("Waiting time", "s", times, [{ name: "half", colour: "green", values: column("wait_p50") }, { name: "95 %", colour: "green", dashed: true, values: column("wait_p95") }])),
    h("div", { class: "grid two" },
      card("Queues", (status.queues || []).length ? table("Queues", [
        ["queue", (row) => queueLink(row.queue), "name"], ["waits", (row) => about(row, "queued"), "num"], ["runs", (row) => number(row.running), "num"],
        ["oldest due", (row) => age(row.oldest), "num"], ["runners", (row) => row.paused_at ? sign("paused") : number(row.runners), "num"]], status.queues, (row) => row.queue)
        : empty("No queue has jobs or a runner. Queue one: ", h("code", null, "python backtick.py enqueue myjobs.log_sum '[3, 4]'"))),
      h("div", { class: "stack wider" }, card("Runners", runners.length ? runnerTable(runners.slice(0, 8), true) : noRunner()),
      card(late.length ? "Schedules that need a look" : "Next to fire", schedules.length ? table("Schedules", [
        ["schedule", (row) => link("schedules", { name: row.name }, bdi(row.name)), "name"], ["state", (row) => sign(row.state)], ["next", (row) => age(row.next_at), "num"]], (late.length ? late : soon).slice(0, 6), (row) => row.name)
        : empty("No schedule. ", h("code", null, "@recurring(minutes=5)"), " above a worker makes one.")))),
  ];
}
const noRunner = () => empty("No runner lives, so nothing is run. Start one: ", h("code", null, "python backtick.py MODULE"));
const rangeTabs = (range, given) => h("div", { class: "tabs", role: "group", "aria-label": "Span of time" }, Object.keys(SPANS).map((one) =>
  h("a", { href: `#/${route().name}?${query({ ...given, range: one })}`, "aria-current": one === range ? "true" : null }, one)));
const picker = (what, given) => given[what]
  ? h("span", { class: "row" }, h("span", { class: "soft small" }, `${what} `, bdi(given[what])), h("a", { class: "small", href: `#/${route().name}?${query({ ...given, [what]: "" })}` }, "of all"))
  : h("form", { onsubmit: (event) => { event.preventDefault(); go({ ...given, [what]: new FormData(event.target).get(what) }); } }, h("input", { name: what, placeholder: `of one ${what}`, "aria-label": `Of one ${what}`, size: 12 }));

// What the filter of jobs means; the same names as the parameters of bt_jobs.
const FILTER = ["queue", "name", "group", "tag", "error_class", "text", "since", "until", "batch", "key"];
const filterOf = (given) => Object.fromEntries(FILTER.filter((name) => given[name]).map((name) => [name, given[name]]));

// By when a job was enqueued, or has ended. What an address says that is none of these stays.
const AGES = [["", "any age"], ["15min", "15 minutes"], ["1h", "an hour"], ["24h", "a day"], ["7d", "a week"], ["30d", "30 days"]];
const ages = (name, shown, given) => h("label", null, shown, h("select", { name, value: given[name] || "" },
  (AGES.some(([value]) => value === (given[name] || "")) ? AGES : [...AGES, [given[name], given[name]]]).map(([value, text]) => h("option", { value }, text))));

async function jobs({ given }) {
  const which = filterOf(given);
  const [rows, states] = await Promise.all([
    look("jobs", { ...which, state: given.state, after: given.after, limit: 50 }),
    look("states", which)]);
  const counts = Object.fromEntries(states.map((row) => [row.state, row]));
  state.rows = rows.map((row) => String(row.id));
  const tab = (name, shown) => h("a", { href: `#/jobs?${query({ ...which, state: name })}`, "aria-current": (given.state || "") === name ? "page" : null }, shown, counts[name] && h("span", { class: "count" }, about(counts[name], "jobs")));
  const field = (name, shown, more) => h("label", null, shown, h("input", { name, value: given[name] || "", autocomplete: "off", ...more }));
  const submit = (event) => { event.preventDefault(); const typed = Object.fromEntries(new FormData(event.currentTarget)); go({ state: given.state, ...typed }); };
  const skipped = (rows.notices || [])[0], last = rows[rows.length - 1];
  const older = skipped ? skipped[1] : rows.length === 50 ? last.place : "";
  return [
    title("Jobs"),
    h("form", { class: "filter", role: "search", "data-key": "filter", onsubmit: submit, onchange: (event) => { if (event.target.nodeName === "SELECT") event.currentTarget.requestSubmit(); } },
      field("queue", "Queue", { "data-first": true }), field("name", "Worker"), field("error_class", "Class of error"), field("tag", "Tag"), field("group", "Group"),
      state.me.reads && field("text", "Text in arguments"),
      ["batch", "key"].map((name) => given[name] && field(name, name === "key" ? "Key" : "Batch")),
      ages("since", "Younger than", given), ages("until", "Older than", given),
      h("button", { type: "submit", class: "first" }, "Find"), Object.keys(which).length > 0 && h("a", { class: "button", href: `#/jobs?${query({ state: given.state })}` }, "Clear")),
    h("div", { class: "tabs", role: "group", "aria-label": "States" }, tab("", "all"), ["queued", "retrying", "running", "done", "exceeded", "canceled"].map((name) => tab(name, name))),
    card(null,
      rows.length ? table("Jobs", [
        [h("input", { type: "checkbox", "aria-label": "Select all on this page", checked: rows.every((row) => state.chosen.has(String(row.id))), onchange: (event) => { for (const id of state.rows) event.target.checked ? state.chosen.add(id) : state.chosen.delete(id); refresh(true); } }),
          (row) => h("input", { type: "checkbox", "aria-label": `Select job ${row.id}`, checked: state.chosen.has(String(row.id)), onchange: (event) => { event.target.checked ? state.chosen.add(String(row.id)) : state.chosen.delete(String(row.id)); refresh(true); } })],
        ["job", (row) => jobLink(row.id), "num"], ["state", (row) => sign(row.state)], ["worker", (row) => link("jobs", { ...which, state: given.state, name: row.name }, bdi(row.name)), "name"],
        ["queue", (row) => link("jobs", { ...which, state: given.state, queue: row.queue }, bdi(row.queue)), "name"],
        ["arguments", (row) => row.args === null ? h("span", { class: "soft", title: "Your role may not read them" }, "not shown") : h("code", null, bdi(row.args)), "wide less"],
        ["when", (row) => age(row.at), "num"], ["took", (row) => took(row.ms), "num"], ["tries", (row) => number(row.tries || ""), "num less"],
        ["error", (row) => row.error_class ? link("jobs", { ...which, state: given.state, error_class: row.error_class }, bdi(row.error_class)) : "", "name"],
        ["tags", (row) => (row.tags || []).map((tag) => h("span", { class: "tag" }, bdi(tag))), "less"]], rows, (row) => String(row.id), (row) => ({ class: state.chosen.has(String(row.id)) ? "chosen" : null }))
        : empty(Object.keys(which).length || given.state ? "No such jobs. " : "No jobs yet. Queue one: ", Object.keys(which).length || given.state ? link("jobs", null, "Look at all") : h("code", null, "python backtick.py enqueue myjobs.log_sum '[3, 4]'")),
      skipped && h("p", { class: "note" }, skipped[0], "; look on there with “Older”.")),
    (given.after || older) && h("div", { class: "row" }, given.after && h("a", { class: "button", href: `#/jobs?${query({ ...which, state: given.state })}` }, "← Newest"), older && h("a", { class: "button", rel: "next", href: `#/jobs?${query({ ...which, state: given.state, after: older })}` }, "Older →")),
    bulk(given, which),
  ];
}

const DID = { retry: "queued again", cancel: "canceled, or told to stop", delete: "deleted" };
const ON_ALL = { retry: ["retrying", "exceeded", "canceled", "done"], cancel: ["queued", "retrying"], delete: ["done", "exceeded", "canceled"] };
const NOW = { retry: "queued", cancel: "canceled" };  // where they are then
const WORD = { retry: "Retry", cancel: "Cancel", delete: "Delete" };

function bulk(given, which) {
  const chosen = [...state.chosen], acts = ["retry", "cancel", "delete"].filter((verb) => may(`bt_${verb}`));
  const all = acts.filter((verb) => may(`bt_${verb}_all`) && ON_ALL[verb].includes(given.state || ""));
  if (!acts.length || (!chosen.length && !all.length)) return null;
  return h("div", { class: "bulk", "data-key": "bulk" },
    chosen.length ? [h("b", null, `${plural(chosen.length, "job")} selected`), acts.map((verb) => button(WORD[verb], () => onSome(verb, chosen), verb === "delete" ? "danger" : "")), button("Select none", () => { state.chosen.clear(); refresh(true); })]
      : [h("span", { class: "soft" }, "All that match:"), all.map((verb) => button(`${WORD[verb]} all…`, () => onAll(verb, { ...which, state: given.state }), verb === "delete" ? "danger" : ""))]);
}

function onSome(verb, ids) {
  return attempt(async () => {
    if (verb === "delete" && !await dialog(`Delete ${plural(ids.length, "job")}?`, h("p", null, "They are gone then, with arguments, results and errors. Jobs that have not ended stay."), "Delete", true)) return;
    let done = 0;
    for (let n = 0; n < ids.length; n += 200) done += (await change(verb, { id: ids.slice(n, n + 200) })).results.filter((one) => one.done).length;
    for (const id of ids) state.chosen.delete(id);
    const left = ids.length - done;
    toast(`${plural(done, "job")} ${DID[verb]}${left ? `; ${left} could not be` : ""}.`, ids.length === 1 && verb !== "delete" ? jobLink(ids[0]) : NOW[verb] && link("jobs", { state: NOW[verb] }, `See what is ${NOW[verb]}`), done === 0);
  });
}

// First how many these are, then, after a yes, a batch a call, of what is there now.
function onAll(verb, which) {
  return attempt(async () => {
    const until = which.until || new Date(now()).toISOString();
    const [count] = await look(verb, { ...which });
    const told = Number(count) > 100000 ? `more than ${number(100000)} jobs` : plural(count, "job");
    if (!Number(count)) { toast("No job matches any more."); return; }
    if (!await dialog(`${WORD[verb]} ${told}?`, h("p", null, Object.entries(which).filter(([, value]) => value).map(([name, value]) => [`${name} `, h("code", null, bdi(value)), " "])), `${WORD[verb]} ${told}`, verb === "delete")) return;
    let done = 0, some;
    do {
      some = Number((await change(verb, { ...which, until })).result);
      done += some;
    } while (some > 0);
    toast(`${plural(done, "job")} ${DID[verb]}.`, NOW[verb] && link("jobs", { ...which, state: NOW[verb], error_class: "", since: "", until: "" }, "See them"));
  });
}

async function job({ id }) {
  const [[found]] = await Promise.all([look("show", { id, cut: 20000 })]);
  if (!found) return [title(`Job ${id}`), empty(`Job ${id} is not there: it was deleted, or never committed. `, link("jobs", null, "Look at all"))];
  const fact = (name, value, more) => value === null || value === undefined || value === "" || value.length === 0 ? null : h("div", null, h("dt", null, name), h("dd", null, value, more));
  const ended = ["done", "exceeded", "canceled"].includes(found.state);
  const error = found.error || {};
  const ids = (list) => list && list.map((one, n) => [n ? ", " : "", jobLink(one)]);
  return [
    h("div", { class: "head" }, h("div", { class: "stack" }, h("span", { class: "row" }, sign(found.state), h("span", { class: "soft" }, `job ${id}`)), h("h1", null, bdi(found.name))),
      h("div", { class: "row" },
        may("bt_retry") && found.state !== "running" && button(ended ? "Retry" : "Run now", () => onSome("retry", [id]), "first"),
        may("bt_retry") && found.state !== "running" && state.me.reads && found.args !== null && button("Edit and retry…", () => edit(id, found), ""),
        may("bt_cancel") && !ended && button("Cancel", () => onSome("cancel", [id]), "danger"),
        may("bt_delete") && ended && button("Delete…", () => onSome("delete", [id]), "danger"))),
    found.why && h("p", { class: "note" }, found.why),
    found.progress !== null && found.state === "running" && card("Progress", h("div", { class: "in row" }, bar(found.progress, `${Math.round(found.progress * 100)} %`, "blue"), `${+(found.progress * 100).toFixed(1)} %`, found.note && h("span", { class: "soft" }, found.note))),
    card("Facts", h("dl", { class: "in facts" },
      fact("queue", link("jobs", { queue: found.queue }, bdi(found.queue))), fact("worker", workerLink(found.name)), fact("priority", String(found.priority)),
      fact(found.state === "queued" ? "due" : "was due", age(found.run_at)), fact("enqueued", age(found.created_at), found.enqueued_by && h("span", { class: "soft" }, " by ", bdi(found.enqueued_by))),
      fact("claimed", age(found.started_at)), fact("ended", age(found.finished_at)),
      found.started_at && found.finished_at && fact("took", took(Math.round(Date.parse(found.finished_at) - Date.parse(found.started_at)))),
      fact("tries", `${found.tries}${found.max_tries ? ` of ${found.max_tries}` : ""}`), found.crashes > 0 && fact("crashes of its runner", String(found.crashes)), found.snoozes > 0 && fact("snoozed", String(found.snoozes)),
      fact("tags", (found.tags || []).map((tag) => h("a", { class: "tag", href: `#/jobs?${query({ tag })}` }, bdi(tag)))),
      fact("key", found.key && link("jobs", { queue: found.queue, key: found.key }, bdi(found.key))), fact("group", found.group_key && link("jobs", { queue: found.queue, group: found.group_key }, bdi(found.group_key))), fact("batch", found.batch && link("jobs", { batch: found.batch }, String(found.batch))),
      fact("schedule", found.schedule && link("schedules", { name: found.schedule }, bdi(found.schedule)), found.scheduled_for && h("span", { class: "soft" }, " for ", age(found.scheduled_for))),
      fact("waits for", ids(found.waits_for)), fact("waited for by", ids(found.awaited_by)), fact("expires", age(found.expires_at)),
      fact("runner", found.runner && `${found.runner}${found.host ? ` on ${found.host}` : ""}`), fact("cancel asked", age(found.cancel_asked_at)))),
    h("div", { class: "grid" },
      card("Timeline", h("ol", { class: "in line" }, (found.timeline || []).map((one) => timeline(one)))),
      h("div", { class: "stack" },
        card("Arguments", h("div", { class: "in stack" }, state.me.reads ? long(id, found.args, found.args_length, "args") : unread("arguments"))),
        found.result !== null && card("Result", h("div", { class: "in" }, long(id, found.result, found.result_length, "result"))),
        found.error && card("Last error", h("div", { class: "in stack" }, h("p", null, h("b", { class: "bad" }, bdi(error.class || "error")), error.message ? ": " : "", error.message && bdi(error.message)),
          state.me.reads ? error.traceback && h("pre", { tabindex: "0" }, error.traceback) : unread("message and traceback"))))),
  ];
}
const unread = (what) => h("p", { class: "soft" }, `The role ${state.me.role} may not read ${what}: these may name people. An admin sees them.`);
const long = (id, text, length, name) => text === null ? h("p", { class: "soft" }, "none")
  : [h("pre", { tabindex: "0" }, bdi(text)), length > text.length && h("p", { class: "small" }, `The first ${number(text.length)} of ${number(length)} characters. `, h("a", { href: `api/show?${query({ id })}`, target: "_blank", rel: "noopener" }, `All of the ${name === "args" ? "arguments" : "result"}, as JSON`))];

const MARKS = { failed: "red", exceeded: "red", crashed: "red", done: "green", claimed: "blue", said: "blue", retried: "amber", snoozed: "amber", "cancel asked": "amber" };
function timeline(one) {
  const { at, what, message, traceback, ...more } = one;  // of earlier failures the end of the traceback is kept
  delete more["class"];
  return h("li", { class: MARKS[what] || "" }, h("b", null, what), one.class && [" ", h("span", { class: "bad" }, bdi(one.class))], " ", h("span", { class: "soft" }, age(at)),
    message && h("div", null, bdi(message)), Object.keys(more).length > 0 && h("div", { class: "soft" }, Object.entries(more).map(([name, value], n) => [n ? " · " : "", `${name.replace(/_/g, " ")} `, /_(at|for)$/.test(name) ? age(value) : bdi(typeof value === "object" ? JSON.stringify(value) : String(value))])),
    traceback && h("details", { "data-key": "trace" }, h("summary", { class: "soft" }, "Traceback"), h("pre", { tabindex: "0" }, traceback)));
}

async function edit(id, found) {
  if (found.args_length > found.args.length) { toast("These arguments are too long to edit here; enqueue a new job.", null, true); return; }
  const typed = await dialog(`Edit the arguments of job ${id}`, h("label", null, "Arguments, a JSON array or object", h("textarea", { name: "args", spellcheck: "false" }, found.args)), "Save and retry");
  if (typed) attempt(async () => {
    try { JSON.parse(typed.args); } catch { throw new Refused(400, "That is not JSON; nothing was changed."); }
    const { results: [one] } = await change("retry", { id: [id], args: typed.args });
    toast(one.done ? "Saved, and queued again:" : `Not done: the job is ${one.state || "not there"}.`, jobLink(id), !one.done);
  });
}

// How a number moves, by what was seen since this page was opened; in a minute.
function trend(name, value) {
  const seen = state.samples.get(name) || [];
  seen.push([now(), Number(value)]);
  while (seen.length > 2 && seen[0][0] < now() - 120000) seen.shift();
  state.samples.set(name, seen);
  const minutes = (seen[seen.length - 1][0] - seen[0][0]) / 60000;
  return minutes > 0.1 ? (seen[seen.length - 1][1] - seen[0][1]) / minutes : null;
}

async function queues({ given }) {
  const [rows, limits, groups, pauses, sparks] = await Promise.all([look("queues"), look("limits"), look("groups"), look("pauses"), lastHour("queue")]);
  const why = new Map(pauses.filter((one) => one.kind === "queue").map((one) => [one.queue, one]));
  const bound = (name) => { const one = limits.find((limit) => limit.kind === "queue" && limit.queue === name); return one ? [one.running !== null && `${number(one.runs)} of ${number(one.running)} at once`, one.rate && `${number(one.rate)} in ${period(one.period)}`, one.max_depth && `${number(one.max_depth)} deep`].filter(Boolean).join(", ") : ""; };
  const out = (name) => { const one = sparks.get(name); return one ? one.done.slice(-3).reduce((a, b) => a + b, 0) / 15 : 0; };
  const moves = new Map(rows.map((row) => [row.queue, trend(row.queue, row.queued)]));
  return [
    title("Queues"), notices(rows),
    card(null, rows.length ? some(rows, (few) => table("Queues", [
      ["queue", (row) => [queueLink(row.queue), row.paused_at && h("div", { class: "soft roomy" }, sign("paused"), " ", age(row.paused_at), why.get(row.queue) && why.get(row.queue).reason ? [": ", bdi(why.get(row.queue).reason)] : "")], "name"], ["waits", (row) => about(row, "queued"), "num"], ["due", (row) => about(row, "due"), "num"], ["runs", (row) => number(row.running), "num"],
      ["oldest due", (row) => row.oldest ? age(row.oldest) : row.next_at ? h("span", { class: "soft" }, "next ", age(row.next_at)) : "", "num"],
      ["in / min", (row) => { const move = moves.get(row.queue); return move === null ? h("span", { class: "soft", title: "Known after some seconds" }, "…") : number(Math.max(0, Math.round(move + out(row.queue)))); }, "num"],
      ["out / min", (row) => number(Math.round(out(row.queue))), "num"],
      ["empty in", (row) => { const move = moves.get(row.queue); return move < 0 && row.queued > 0 ? `~\u2009${span(row.queued / -move * 60)}` : ""; }, "num"],
      ["last hour", (row) => spark((sparks.get(row.queue) || { done: Array(12).fill(0) }).done, "accent", "ended in five minutes each:")],
      ["runners", (row) => row.runners ? number(row.runners) : h("span", { class: row.queued ? "bad" : "soft" }, "none"), "num"], ["limit", (row) => bound(row.queue), "nowrap"],
      ["", (row) => [may("bt_limit") && button("Limit…", () => limit(limits.find((one) => one.kind === "queue" && one.queue === row.queue) || { queue: row.queue }), ""), " ", row.paused_at ? may("bt_resume") && button("Resume", () => doIt("resume", { queue: row.queue }, `${row.queue} is paused no longer.`), "") : may("bt_pause") && button("Pause…", () => pause({ queue: row.queue }, `the queue ${row.queue}`), "")], "acts"]], few, (row) => row.queue), "queue")
      : empty("No queue has jobs or a runner. Queue a job: ", h("code", null, "python backtick.py enqueue myjobs.log_sum '[3, 4]'"))),
    groups.length > 0 && card("Groups", table("Groups", [
      ["group", (row) => link("jobs", { queue: row.queue, group: row.name }, bdi(row.name)), "name"], ["queue", (row) => queueLink(row.queue), "name"],
      ["waits", (row) => number(row.waiting) + (row.waiting < 1000 ? "" : "+"), "num"], ["oldest due", (row) => age(row.oldest), "num"],
      ["runs", (row) => row.at_once === null ? number(row.running) : [bar(row.at_once ? row.running / row.at_once : 1, `${row.running} of ${row.at_once}`), ` ${number(row.running)} / ${number(row.at_once)}`], "num"],
      ["", (row) => [may("bt_limit") && button("Limit…", () => limit(limits.find((one) => one.kind === "group" && one.queue === row.queue && one.name === row.name) || { kind: "group", queue: row.queue, name: row.name }), ""), " ",
        row.paused_at ? may("bt_resume") && button("Resume", () => doIt("resume", { group: row.name, queue: row.queue }, `${row.name} is paused no longer.`), "") : may("bt_pause") && button("Pause…", () => pause({ group: row.name, queue: row.queue }, `the group ${row.name}`), "")], "acts"]], groups, (row) => `${row.queue}/${row.name}`), notices(groups)),
    limits.length > 0 && card("Limits", table("Limits", [
      ["of", (row) => LIMITED[row.kind]], ["queue", (row) => bdi(row.queue), "name"], ["name", (row) => row.name ? bdi(row.name) : "", "name"], ["runs", (row) => number(row.runs), "num"],
      ["at once", (row) => row.running === null ? "" : [bar(row.running ? row.runs / row.running : 1, `${row.runs} of ${row.running}`), " ", number(row.running)], "num"],
      ["rate", (row) => row.rate ? `${number(row.rate)} in ${period(row.period)}` : ""], ["deep at most", (row) => [number(row.max_depth), row.on_depth && h("div", { class: "soft" }, row.on_depth === "drop" ? "more is dropped" : "more is refused")], "num"],
      ["when one fails", (row) => ON_FAILURE[row.on_failure] || ""], ["set", (row) => [age(row.set_at), row.set_by && h("span", { class: "soft" }, " by ", bdi(row.set_by))]],
      ["", (row) => may("bt_limit") && [button("Change…", () => limit(row), ""), " ", button("Lift", () => doIt("limit", ofLimit(row), "The limit is lifted."), "")], "acts"]], limits, (row) => `${row.kind}/${row.queue}/${row.name}`)),
    pauses.some((one) => one.kind !== "queue") && card("Paused beside queues", table("Pauses", [
      ["what", (row) => row.kind], ["name", (row) => bdi(row.name), "name"], ["queue", (row) => row.queue ? bdi(row.queue) : "all", "name"], ["since", (row) => [age(row.since), h("span", { class: "soft" }, " by ", bdi(row.by))]], ["why", (row) => row.reason && bdi(row.reason), "wide"],
      ["", (row) => may("bt_resume") && button("Resume", () => doIt("resume", { [row.kind]: row.name, queue: row.queue }, `${row.name} is paused no longer.`), ""), "acts"]], pauses.filter((one) => one.kind !== "queue"), (row) => `${row.kind}/${row.queue}/${row.name}`)),
  ];
}
const doIt = (verb, given, said) => attempt(async () => { const { result } = await change(verb, Object.fromEntries(Object.entries(given).filter(([, value]) => value))); toast(result === false || result === null ? "It was so already." : result === 0 ? "There is no such one any more." : said); });
async function pause(what, shown) {
  const typed = await dialog(`Pause ${shown}?`, [h("p", null, "What runs goes on; nothing more is begun."), h("label", null, "Why, for people", h("input", { name: "reason", maxlength: 500, autofocus: true }))], "Pause");
  if (typed) doIt("pause", { ...what, reason: typed.reason }, `${shown[0].toUpperCase()}${shown.slice(1)} is paused.`);
}

// A limit of a queue, of a worker or a group in it, or of each group that has none of its own; what is left empty is none.
const LIMITED = { queue: "queue", worker: "worker", group: "group", groups: "each group" };
const ON_FAILURE = { wait: "the others wait", go_on: "the others go on" };
const ofLimit = ({ queue, kind, name }) => ({ queue, ...(kind === "groups" ? { groups: true } : kind !== "queue" && { [kind]: name }) });
async function limit(was) {
  const field = (name, shown, more) => h("label", null, shown, h("input", { name, value: was[name] === null || was[name] === undefined ? "" : String(was[name]), autocomplete: "off", ...more }));
  const choice = (name, shown, options) => h("label", null, shown, h("select", { name, value: was[name] || "" }, Object.entries(options).map(([value, text]) => h("option", { value }, text))));
  const typed = await dialog(was.kind ? `Limit the ${was.kind === "groups" ? "groups of" : was.kind} ${was.name || was.queue}` : `Limit the queue ${was.queue}`, [h("p", null, "What is left empty has no limit. What runs goes on."),
    h("div", { class: "fields" }, !was.kind && [choice("kind", "What", { queue: "the queue", worker: "a worker in it", group: "a group in it", groups: "each group in it" }), field("name", "Name of the worker or group")],
      field("running", "Run at once", { type: "number", min: 0 }), field("rate", "Begin, in a period", { type: "number", min: 1 }), field("period", "The period", { placeholder: "1min" }), field("max_depth", "Wait in the queue, about", { type: "number", min: 1 }),
      choice("on_depth", "More of these", { "": "are refused", drop: "are dropped" }), choice("on_failure", "When one of a group fails", { "": "as it is usual", ...ON_FAILURE }))], "Set the limit");
  if (!typed) return;
  const { kind = was.kind, name = was.name, ...given } = typed;
  doIt("limit", { ...given, ...ofLimit({ queue: was.queue, kind, name }) }, "The limit holds from now on.");
}

async function workers({ given }) {
  const since = given.since || "24h";
  const [rows, sparks, pauses] = await Promise.all([look("workers", { since }), lastHour("worker"), look("pauses")]);
  const paused = new Set(pauses.filter((one) => one.kind === "worker").map((one) => one.name));
  const none = { done: Array(12).fill(0), bad: Array(12).fill(0) };
  return [
    title("Workers", sinceTabs(since, given)), notices(rows),
    card(null, rows.length ? some(rows, (few) => table("Workers", [
      ["worker", (row) => workerLink(row.name), "name"], ["waits", (row) => about(row, "waiting"), "num"], ["runs", (row) => number(row.running), "num"], ["done", (row) => number(row.done), "num"],
      ["exceeded", (row) => [row.failed ? link("jobs", { name: row.name, state: "exceeded" }, number(row.failed)) : "0", row.done + row.failed > 0 && h("div", { class: "soft" }, `${(100 * row.failed / (row.done + row.failed)).toFixed(1)} %`)], "num"],
      ["last hour", (row) => spark((sparks.get(row.name) || none).done, "accent", "ended in five minutes each:")],
      ["times", () => ["ran", h("div", { class: "soft" }, "waited")]],
      ...["p50", "p95", "p99"].map((name) => [name, (row) => [took(row[`${name}_ms`]) || "–", h("div", { class: "soft" }, took(row[`wait_${name}_ms`]) || "–")], "num"]),
      ["last error", (row) => row.error_class ? [link("jobs", { name: row.name, error_class: row.error_class, state: "exceeded" }, bdi(row.error_class)), h("div", { class: "soft" }, age(row.failed_at))] : "", "name"],
      ["runners", (row) => row.runners ? link("runners", { worker: row.name }, number(row.runners)) : h("span", { class: row.waiting ? "bad" : "soft" }, "none"), "num"],
      ["", (row) => paused.has(row.name) ? [sign("paused"), " ", may("bt_resume") && button("Resume", () => doIt("resume", { worker: row.name }, `${row.name} is paused no longer.`), "")] : may("bt_pause") && button("Pause…", () => pause({ worker: row.name }, `the worker ${row.name}`), ""), "acts"]], few, (row) => row.name), "worker")
      : empty("No worker is known or has jobs. Decorate a function with ", h("code", null, "@worker"), " and start a runner with its module.")),
  ];
}
const sinceTabs = (since, given) => h("div", { class: "tabs", role: "group", "aria-label": "Since" }, ["1h", "24h", "7d"].map((one) => h("a", { href: `#/${route().name}?${query({ ...given, since: one })}`, "aria-current": one === since ? "true" : null }, one)));

async function failures({ given }) {
  const since = given.since || "24h";
  const rows = await look("failures", { since });
  const cell = (row) => ({ name: row.name, error_class: row.error_class, since });
  return [
    title("Failures", sinceTabs(since, given)), notices(rows),
    !state.me.reads && h("p", { class: "note" }, `The role ${state.me.role} may not read the texts of errors: these may name people.`),
    card(null, rows.length ? some(rows, (few) => table("Failures", [
      ["worker", (row) => workerLink(row.name), "name"], ["class", (row) => row.error_class ? link("jobs", { ...cell(row), state: "" }, bdi(row.error_class)) : h("span", { class: "soft" }, "none: canceled"), "name"],
      ["jobs", (row) => number(row.jobs), "num"], [`last ${since}`, (row) => spark(row.past || [], "red", "in each part of that time:")],
      ["last", (row) => [age(row.last_at), " ", jobLink(row.last_id)], "num"], ["message", (row) => row.message ? bdi(row.message) : "", "wide less"],
      ["", (row) => row.error_class && [may("bt_retry_all") && button("Retry all…", () => onAll("retry", { ...cell(row), state: "ended" }), ""), " ", may("bt_delete_all") && button("Delete all…", () => onAll("delete", { ...cell(row), state: "ended" }), "danger")], "acts"]], few, (row) => `${row.name}/${row.error_class}`), "row")
      : empty("✓ Nothing has failed in that time.")),
  ];
}

// Of a list of times those before which the clocks of the zone change.
function changes(times, spec) {
  const tz = spec.startsWith("every ") ? "" : spec.slice(spec.lastIndexOf(" ") + 1);
  const offset = (at) => { try { const wall = new Intl.DateTimeFormat("sv-SE", { timeZone: tz, dateStyle: "short", timeStyle: "medium" }).format(at); return Date.parse(`${wall.replace(" ", "T")}Z`) - Math.floor(at / 1000) * 1000; } catch { return 0; } };
  return times.map((time, n) => { const before = n ? Date.parse(times[n - 1]) : now(), at = Date.parse(time); return tz ? Math.round((offset(at) - offset(before)) / 60000) : 0; });
}

async function schedules({ given }) {
  const [rows, pauses] = await Promise.all([look("schedules", { name: given.name }), look("pauses")]);
  const paused = new Map(pauses.filter((one) => one.kind === "schedule").map((one) => [one.name, one]));
  const dot = (run, n) => { const bad = run.state !== "done", late = run.late > 10; return h("svg:g", null, h("svg:title", null, `${run.at}: ${run.state}${late ? `, ${run.late} s late` : ""}`), bad ? h("svg:path", { class: "l-red", d: `M${n * 14 + 3} 3l8 8m0 -8l-8 8` }) : h("svg:circle", { class: late ? "l-red" : "f-green", cx: n * 14 + 7, cy: 7, r: 4 })); };
  return [
    title("Schedules", given.name && link("schedules", null, "Show all")),
    card(null, rows.length ? some(rows, (few) => table("Schedules", [
      ["schedule", (row) => [link("schedules", { name: row.name }, bdi(row.name)), row.worker !== row.name && h("div", { class: "soft" }, bdi(row.worker))], "name"],
      ["state", (row) => [paused.has(row.name) ? sign("paused") : sign(row.state), row.error && h("div", { class: "bad" }, row.error), paused.has(row.name) && paused.get(row.name).reason && h("div", { class: "soft" }, bdi(paused.get(row.name).reason))]],
      ["fires", (row) => { const words = state.words[row.spec], tz = row.spec.slice(row.spec.lastIndexOf(" ") + 1); return words ? [words, h("div", { class: "soft" }, h("code", null, row.spec.slice(0, row.spec.lastIndexOf(" "))), ` ${tz}`)] : row.spec; }, "fires"],
      ["next", (row) => { const marks = changes(row.fires || [], row.spec), tz = state.words[row.spec] ? row.spec.slice(row.spec.lastIndexOf(" ") + 1) : undefined;
        return (row.fires || []).length ? h("ul", null, row.fires.map((time, n) => h("li", { class: "nowrap" }, n ? h("span", { class: "soft" }, h("time", { datetime: time, title: `${local(Date.parse(time))} ${zone} · ${local(Date.parse(time), "UTC")} UTC` }, local(Date.parse(time), tz).slice(0, 19))) : age(time), marks[n] ? h("span", { class: "state amber" }, `clocks go ${marks[n] > 0 ? "forward" : "back"} ${Math.abs(marks[n])} min before`) : ""))) : h("span", { class: "soft" }, "never"); }],
      ["last runs, newest first", (row) => (row.runs || []).length ? h("svg:svg", { class: "dots", viewBox: `0 0 ${row.runs.length * 14} 14`, width: row.runs.length * 14, height: 14, role: "img", "aria-label": row.runs.map((run) => `${run.state}${run.late > 10 ? " late" : ""}`).join(", ") }, row.runs.map(dot)) : h("span", { class: "soft" }, "none yet")],
      ["last", (row) => row.last_at ? [age(row.last_at), row.last_job && [" ", jobLink(row.last_job)], row.last_state && h("div", null, sign(row.last_state))] : ""], ["skipped", (row) => number(row.skipped), "num"],
      ["", (row) => [paused.has(row.name) ? may("bt_resume") && button("Resume", () => doIt("resume", { schedule: row.name }, `${row.name} fires again.`), "") : may("bt_pause") && button("Pause…", () => pause({ schedule: row.name }, `the schedule ${row.name}`), ""), " ",
        may("bt_fire") && button("Fire now", () => attempt(async () => { const { result } = await change("fire", { name: row.name }); result ? toast(`${row.name} is fired:`, jobLink(result)) : toast("There is no such schedule.", null, true); }), "")], "acts"]], few, (row) => row.name), "schedule")
      : empty("No schedule. ", h("code", null, '@cron("0 30 9 * * MON-FRI", tz="Europe/London")'), " above a worker makes one, when a runner starts.")),
  ];
}

const runnerTable = (rows, isShort) => table("Runners", [
  ["runner", (row) => [bdi(`${row.host}:${row.pid}`), !isShort && h("span", { class: "soft" }, ` ${row.id}`)], "name"], ["state", (row) => sign(row.state)],
  ["at work", (row) => [bar(row.slots ? row.jobs / row.slots : 0, `${row.jobs} of ${row.slots} slots`, "blue"), " ", `${number(row.jobs)}${row.slots ? ` / ${number(row.slots)}` : ""}`], "nowrap"],
  ...(isShort ? [] : [
    ["longest since", (row) => age(row.oldest), "num"], ["what", (row) => (row.works || []).map((name, n) => [n ? ", " : "", workerLink(name, { state: "running" })]), "wide"], ["queues", (row) => (row.queues || []).map((name, n) => [n ? ", " : "", queueLink(name)]), "wide"],
    ["memory", (row) => row.memory_mb === null ? "" : `${number(row.memory_mb)} MB`, "num"], ["version", (row) => row.version || ""], ["started", (row) => age(row.started_at), "num"], ["heard of", (row) => age(row.heartbeat_at), "num"],
    ["", (row) => may("bt_drain") && !["dead", "draining"].includes(row.state) && button("Drain…", async () => { if (await dialog(`Drain runner ${row.id} on ${row.host}?`, h("p", null, "It finishes what it has, takes nothing more, and ends. What starts it, systemd say, may start it anew."), "Drain", true)) doIt("drain", { runner: String(row.id) }, `Runner ${row.id} is to end.`); }, ""), "acts"]]),
], rows, (row) => String(row.id));

async function runners({ given }) {
  const rows = await look("runners", { worker: given.worker });
  return [title("Runners", given.worker && ["which know ", bdi(given.worker), link("runners", null, "Show all")]), card(null, rows.length ? some(rows, (few) => runnerTable(few), "runner") : given.worker ? empty("No runner knows ", bdi(given.worker), ". Those whose module has it do.") : noRunner())];
}

const bytes = (n) => { for (const [unit, size] of [["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) if (n >= size) return h("span", { title: `${number(n)} bytes` }, `${(n / size).toFixed(n >= 100 * size ? 0 : 1)} ${unit}`); return `${n} B`; };

async function database() {
  const [findings, sizes, [status]] = await Promise.all([look("doctor"), look("sizes"), look("status")]);
  const held = status.snapshot;
  const most = Math.max(1, ...sizes.map((row) => row.bytes + row.index_bytes));
  return [
    title("Database"),
    card("What the doctor says", findings.length ? h("ul", { class: "wants" }, findings.map((one) => h("li", { "data-key": `${one.finding}/${one.subject}` }, sign(one.severity), h("div", { class: "stack" }, h("span", null, bdi(one.reason)), one.cure && copyable(one.cure))))) : empty("✓ Nothing slows or threatens the queue.")),
    card("Held and full", h("dl", { class: "in facts" },
      h("div", null, h("dt", null, "oldest snapshot"), h("dd", null, held ? [age(held.since), ` by session ${held.pid} of ${held.user || "somebody"}`] : "none older than a minute")),
      h("div", null, h("dt", null, "notify queue"), h("dd", null, `${status.notify_queue || 0} % full`)), h("div", null, h("dt", null, "database"), h("dd", null, bdi(status.database))))),
    card("Tables", table("Tables", [
      ["table", (row) => h("code", null, row.name)], ["rows, about", (row) => number(row.live), "num"], ["dead rows", (row) => number(row.dead), "num"],
      ["dead", (row) => row.live + row.dead > 0 ? `${(100 * row.dead / (row.live + row.dead)).toFixed(0)} %` : "", "num"], ["table", (row) => bytes(row.bytes), "num"], ["indexes", (row) => bytes(row.index_bytes), "num"],
      ["of the largest", (row) => bar((row.bytes + row.index_bytes) / most, `${Math.round(100 * (row.bytes + row.index_bytes) / most)} %`)],
      ["vacuumed", (row) => age(row.vacuumed_at) || h("span", { class: "soft" }, "never"), "num"], ["analyzed", (row) => age(row.analyzed_at) || h("span", { class: "soft" }, "never"), "num"]], sizes, (row) => row.name)),
  ];
}

// ---- The frame -----------------------------------------------------------------

const PAGES = { "": ["Overview", overview], jobs: ["Jobs", jobs], queues: ["Queues", queues], workers: ["Workers", workers], failures: ["Failures", failures], schedules: ["Schedules", schedules], runners: ["Runners", runners], database: ["Database", database] };

function route() {
  const [path, words] = location.hash.replace(/^#\/?/, "").split("?");
  const given = Object.fromEntries(new URLSearchParams(words || ""));
  const found = path.match(/^job\/(\d{1,19})$/);
  return found ? { name: "jobs", page: job, id: found[1], given, title: `Job ${found[1]}` } : { name: path, page: (PAGES[path] || [])[1], given, title: (PAGES[path] || ["Not found"])[0] };
}
const go = (given) => { location.hash = `#/${route().name}?${query(given)}`; };

// What somebody is at must not move under his hands.
const isHeld = () => state.paused || state.chosen.size > 0 || $("dialog").open || !getSelection().isCollapsed;

async function refresh(isQuick) {
  const turn = ++state.asking, where = route();
  state.asked = Date.now();
  if (!where.page) { draw([title("Not found"), empty("There is no such page. ", link("", null, "To the overview"))]); return; }
  if (!isQuick) state.samples.size > 5000 && state.samples.clear();
  state.sql = [];
  try {
    const seen = await where.page(where);
    if (turn === state.asking) { state.failed = ""; draw([...seen, sqlOf()]); }
  } catch (error) {
    if (turn !== state.asking) return;
    if (error.status === 401) return login(error.message);
    if (!(error instanceof Refused)) throw error;
    state.failed = error.message;
    if (error.status === 403 || error.status === 400) draw([title(where.title), h("p", { class: "note amber" }, error.message)]);
    frame();
  }
}

function draw(seen) {
  const main = $("main");
  main.removeAttribute("aria-busy");
  children(main, seen.flat(Infinity));
  frame();
}

function frame() {
  const here = route();
  document.title = `${here.title} · backtick`;
  children($("nav"), Object.entries(PAGES).map(([path, [name]]) => h("a", { href: `#/${path}`, "aria-current": here.name === path ? "page" : null, "data-key": `nav-${path}` }, name)));
  const on = $("nav").querySelector("[aria-current]");  // on a phone there is no room for all of them
  if (on && on !== state.on) { state.on = on; $("nav").scrollLeft = on.offsetLeft - 48; }
  const held = isHeld(), live = state.away || state.failed ? "away" : held ? "off" : "";
  children($("tools"), [
    h("div", { class: "row" }, button(h("span", { class: `live ${live}` }, live === "away" ? "no answer" : state.paused ? "paused" : held ? "held" : "live"), () => { state.paused = !state.paused; frame(); if (!state.paused) refresh(); }, "plain", { "aria-pressed": String(state.paused), title: held && !state.paused ? "It stands still while something is selected" : "Pause or go on (p)" })),
    h("div", { class: "row" }, button("Light or dark", () => { const dark = getComputedStyle(document.documentElement).colorScheme.trim() === "dark"; const theme = dark ? "light" : "dark"; document.documentElement.dataset.theme = theme; keep("theme", theme); }), button("Keys", help, "plain", { "aria-keyshortcuts": "?" })),
    state.me && h("div", { class: "who" }, "as ", bdi(state.me.role), !may("bt_pause") && ", who may look only", kept("signed") && [" ", button("Leave", () => attempt(async () => { await change("logout", {}); keep("signed"); location.reload(); }))]),
    Math.abs(state.skew) > 60000 && h("div", { class: "who" }, `This machine's clock is ${span(state.skew / 1000)} ${state.skew < 0 ? "ahead of" : "behind"} the database's; ages are by that.`),
  ]);
  const said = state.away || state.failed;
  $("banner").hidden = !said;
  const text = said ? `No answer: ${said}. What you see is from before; it goes on by itself.` : "";
  if ($("banner").textContent !== text) $("banner").textContent = text;
}

function help() {
  dialog("Keys", h("dl", { class: "facts" }, [["/", "to the filter"], ["j  k", "next and previous row"], ["x", "select the row"], ["Enter", "open it"], ["p", "pause, or go on"], ["g then o j q w f s r d", "Overview, Jobs, Queues, Workers, Failures, Schedules, Runners, Database"]].map(([keys, does]) => h("div", null, h("dt", null, h("kbd", null, keys)), h("dd", null, does)))), "Close");
}

let before = "";
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog").open || /INPUT|TEXTAREA|SELECT/.test(event.target.nodeName) && event.target.type !== "checkbox") return;
  const pages = { o: "", j: "jobs", q: "queues", w: "workers", f: "failures", s: "schedules", r: "runners", d: "database" };
  const was = before;
  before = event.key;
  if (was === "g" && event.key in pages) { location.hash = `#/${pages[event.key]}`; before = ""; return; }
  const rows = [...document.querySelectorAll("main tbody tr")], at = rows.indexOf(document.activeElement && document.activeElement.closest("tr"));
  if (event.key === "j" || event.key === "k") {
    const row = rows[Math.max(0, Math.min(rows.length - 1, at + (event.key === "j" ? 1 : -1)))];
    const target = row && (row.querySelector("a") || row.querySelector("button"));
    if (target) target.focus();
  } else if (event.key === "x" && at >= 0) { const box = rows[at].querySelector("input[type=checkbox]"); if (box) box.click(); }
  else if (event.key === "/") { const field = document.querySelector("[data-first]"); if (field) field.focus(); else location.hash = "#/jobs"; event.preventDefault(); }
  else if (event.key === "p") { state.paused = !state.paused; frame(); if (!state.paused) refresh(); }
  else if (event.key === "?") help();
});

// However fast things change, every two seconds are enough for people.
function soon() {
  state.due ||= setTimeout(() => { state.due = 0; if (!isHeld()) refresh(); }, Math.max(0, state.asked + 2000 - Date.now()));
}

// Events tell that something has changed; who does not look hears none.
function listen() {
  if (state.live) state.live.close();
  state.live = null;
  if (document.hidden) return;
  const events = new EventSource("api/events");
  state.live = events;
  events.onmessage = (event) => {
    const { mark, away } = JSON.parse(event.data), was = state.away;
    state.away = away || "";
    if (was !== state.away) frame();
    if (mark && (mark !== state.mark || was || state.failed)) { state.mark = mark; if (!isHeld()) soon(); else frame(); }
  };
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) setTimeout(() => { if (state.live === events) { refresh(); listen(); } }, 3000);
    if (!state.away) { state.away = "the server of this page does not answer"; frame(); }
  };
}

function login(kind) {
  if (state.live) state.live.close();
  state.live = null;
  state.me = null;
  keep("signed");
  const send = async (event) => {
    event.preventDefault();
    const typed = Object.fromEntries(new FormData(event.currentTarget));
    try { await change("login", typed); keep("signed", "1"); await begin(); } catch (error) { toast(error.message, null, true); }
  };
  const isUser = kind === "user and password";
  draw([h("div", { "data-key": "login" }, card("Log in", h("form", { class: "in stack", onsubmit: send },
    isUser ? [h("label", null, "User of the database", h("input", { name: "user", autocomplete: "username", required: true, autofocus: true })), h("label", null, "Password", h("input", { name: "password", type: "password", autocomplete: "current-password" }))]
      : h("label", null, "Token", h("input", { name: "token", type: "password", autocomplete: "current-password", required: true, autofocus: true })),
    h("div", null, h("button", { type: "submit", class: "first" }, "Log in")))))]);
}

async function begin() {
  try {
    [state.me] = await look("me");
    state.may = new Set(state.me.may || []);
  } catch (error) {
    if (error.status === 401) return login(error.message);
    state.me ||= { role: "?", reads: false, may: [] };
    state.failed = error.message;
  }
  listen();
  await refresh();
}

addEventListener("hashchange", () => {
  state.chosen.clear();
  $("main").setAttribute("aria-busy", "true");
  frame();
  refresh().then(() => { if (route().name !== state.where) { state.where = route().name; scrollTo(0, 0); $("main").focus({ preventScroll: true }); } });
});
addEventListener("storage", (event) => { if (event.key === "signed") begin(); });  // another tab came or left
document.addEventListener("visibilitychange", () => { listen(); if (!document.hidden && !isHeld()) refresh(); });
document.addEventListener("selectionchange", () => { if (state.me) { const off = isHeld(); if (off !== state.held) { state.held = off; frame(); } } });
addEventListener("DOMContentLoaded", () => {
  state.where = route().name;
  frame();
  begin();
  // Ages go on by themselves; what only time changes is asked for now and then.
  setInterval(() => { for (const time of document.querySelectorAll("time[data-at]")) { const text = ageOf(Number(time.dataset.at)); if (time.textContent !== text) time.textContent = text; } }, 1000);
  setInterval(() => { if (!document.hidden && state.me && state.live && !isHeld()) refresh(); }, 10000);
});
