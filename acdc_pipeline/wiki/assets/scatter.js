// The scatter of all heads: axes, filters and their address, the point in focus, the rectangle.
(function () {
  "use strict";
  var axes = document.getElementById("axes"), box = document.getElementById("box");
  var status = document.querySelector(".status"), found = document.querySelector(".found");
  var place = document.querySelector(".plane"), plane = new wikiPlane(place);
  var point = place.querySelector(".point"), tip = place.querySelector(".tip");
  var brush = place.querySelector(".brush"), table = document.querySelector(".hits");
  var legend = document.querySelector(".models");
  var SIDES = ["x0", "x1", "y0", "y1"], ROWS = 200, COLOURS = 8;
  var heads = null, at = null, latest = 0, frame = 0;

  function option(value, text) {
    var made = document.createElement("option");
    made.value = value;
    made.textContent = text;
    return made;
  }

  function fill() {
    ["x", "y"].forEach(function (name) {
      var groups = {};
      heads.data.scores.forEach(function (score) {
        var title = score.task ? "On " + score.task : "Without a task";
        if (!groups[title]) {
          groups[title] = document.createElement("optgroup");
          groups[title].label = title;
          axes.elements[name].appendChild(groups[title]);
        }
        groups[title].appendChild(option(score.metric, heads.title(score)));
      });
    });
    heads.data.models.forEach(function (model, m) {
      axes.elements.model.appendChild(option(model.slug, model.title));
      var item = document.createElement("li"), swatch = document.createElement("i");
      swatch.className = "c" + m % COLOURS + " s" + shapeOf(m);
      item.appendChild(swatch);
      item.appendChild(document.createElement("bdi")).textContent = model.title;
      legend.appendChild(item);
    });
    heads.data.kinds.forEach(function (kind, i) {
      if (!heads.hasRole(i)) return;
      axes.elements.kind.appendChild(option(kind.name, kind.name.replace(/_/g, " ")));
    });
  }

  // Neighbours in the list differ in shape too, for readers who cannot tell the colours apart.
  function shapeOf(model) { return (model + Math.floor(model / COLOURS)) % 4; }

  function score(name) {
    return heads.data.scores.find(function (s) { return s.metric === axes.elements[name].value; });
  }

  function choose(name, wanted, usual) {
    var select = axes.elements[name];
    select.value = wanted || "";
    if (select.selectedIndex >= 0) return;
    var first = heads.data.scores.find(function (s) { return s.name === usual; });
    if (first) select.value = first.metric; else select.selectedIndex = 0;
  }

  function restore() {
    var wanted = new URLSearchParams(location.search);
    choose("x", wanted.get("x"), "induction");
    choose("y", wanted.get("y"), "previous_token");
    ["model", "kind"].forEach(function (name) {
      axes.elements[name].value = wanted.get(name) || "";
      if (axes.elements[name].selectedIndex < 0) axes.elements[name].value = "";
    });
    var sides = (wanted.get("box") || "").split(",");
    SIDES.forEach(function (name, i) { box.elements[name].value = sides[i] || ""; });
  }

  function address() {
    var state = new URLSearchParams();
    ["x", "y", "model", "kind"].forEach(function (name) {
      if (axes.elements[name].value) state.set(name, axes.elements[name].value);
    });
    var sides = SIDES.map(function (name) { return box.elements[name].value; });
    if (sides.some(Boolean)) state.set("box", sides.join(","));
    return "scatter.html?" + state.toString();
  }

  function colours() {
    var style = getComputedStyle(place);
    function of(css) { return getComputedStyle(legend.querySelector(css)).color; }
    var list = [];
    for (var i = 0; i < Math.min(COLOURS, heads.data.models.length); i++) list.push(of(".c" + i));
    return {
      list: list, ink: style.color, ground: style.backgroundColor, font: style.fontFamily,
      muted: style.getPropertyValue("text-decoration-color"), rule: style.borderTopColor,
      line: style.caretColor
    };
  }

  function lines(metric, shown) {
    var about = heads.lines[metric];
    var nulls = about.nulls.filter(function (value, m) { return value !== null && shown[m]; });
    var out = about.roles.map(function (line) { return { value: line[0], name: line[1], dashed: false }; });
    if (nulls.length) out.push({ value: Math.max.apply(null, nulls), name: "null", dashed: true });
    return out;
  }

  function show() {
    var number = ++latest, x = score("x"), y = score("y");
    // scores of an earlier choice may arrive after those of a later one
    heads.load([x.metric, y.metric], function () { if (number === latest) draw(x, y); });
  }

  function draw(x, y) {
    var xs = heads.columns[x.metric], ys = heads.columns[y.metric], shown = [], numbers = [];
    var kind = heads.data.kinds.findIndex(function (k) { return k.name === axes.elements.kind.value; });
    var role = { kind: "role", role: kind };
    for (var number = 0; number < heads.total; number++) {
      if (xs[number] !== xs[number] || ys[number] !== ys[number] || !heads.exists(number)) continue;
      var model = heads.owner[number];
      if (axes.elements.model.value && heads.data.models[model].slug !== axes.elements.model.value) continue;
      if (kind >= 0 && !wikiQuery.passes(role, number, null, heads)) continue;
      shown[model] = true;
      numbers.push(number);
    }
    var look = colours(), owner = heads.owner;
    var marks = heads.data.models.map(function (_, m) {
      return { colour: look.list[m % COLOURS], shape: shapeOf(m) };
    });
    look.mark = function (number) { return marks[owner[number]]; };
    look.x = { title: heads.title(x), lines: lines(x.metric, shown) };
    look.y = { title: heads.title(y), lines: lines(y.metric, shown) };
    plane.draw(numbers, xs, ys, look);
    legend.querySelectorAll("li").forEach(function (item, m) { item.classList.toggle("off", !shown[m]); });
    var said = numbers.length.toLocaleString("en") + (numbers.length === 1 ? " head" : " heads") + " with both scores";
    status.textContent = said + ".";
    plane.canvas.setAttribute("aria-label", look.y.title + " against " + look.x.title + ": " + said +
      look.x.lines.concat(look.y.lines).map(function (line) {
        return "; line of " + line.name + " at " + wikiDigits(line.value);
      }).join("") + ".");
    document.querySelectorAll("[data-axis]").forEach(function (text) {
      text.textContent = text.dataset.axis === "x" ? look.x.title : look.y.title;
    });
    focus(numbers.indexOf(at) < 0 ? null : at);
    list();
  }

  // The kinds that a head behaves as, with a star where an axis has its score below the line of the kind.
  function kinds(number) {
    return (heads.roles[number] || []).map(function (role) {
      var kind = heads.data.kinds[role[0]], task = role[1] < 0 ? "" : heads.data.tasks[role[1]].name;
      var starred = ["x", "y"].some(function (axis) {
        var about = score(axis), value = plane[axis + "s"][number];
        if (about.name !== kind.score || (about.task || "") !== task) return false;
        return heads.lines[about.metric].roles.some(function (line) {
          var level = Math.fround(line[0]);
          return line[1] === kind.title && (level < 0 ? value > level : value < level);
        });
      });
      return kind.name.replace(/_/g, " ") + (starred ? "*" : "") + (task ? " on " + task : "");
    }).join(", ");
  }

  function describe(number) {
    var where = heads.place(number), roles = kinds(number);
    return heads.name(where) + " in " + where.title + ": " + wikiDigits(plane.xs[number]) + " across, " +
      wikiDigits(plane.ys[number]) + " up" + (roles ? "; " + roles : "");
  }

  function href(number) {
    var where = heads.place(number);
    return "m/" + where.slug + "/" + heads.name(where) + ".html";
  }

  // Makes a head the one in focus: a link lies upon its point, with a tooltip beside it.
  function focus(number) {
    at = number;
    point.hidden = tip.hidden = number === null;
    if (number === null) return;
    var left = plane.left(plane.xs[number]), top = plane.top(plane.ys[number]);
    point.href = href(number);
    point.setAttribute("aria-label", describe(number));
    tip.textContent = describe(number);
    point.style.left = left + "px";
    point.style.top = top + "px";
    tip.style.left = Math.max(4, Math.min(left + 10, plane.width - tip.offsetWidth - 4)) + "px";
    tip.style.top = (top > tip.offsetHeight + 34 ? top - tip.offsetHeight - 10 : top + 12) + "px";
  }

  function sides() {
    var given = SIDES.map(function (name) { return parseFloat(box.elements[name].value); });
    if (given.every(isNaN)) return null;
    return given.map(function (value, i) { return isNaN(value) ? (i % 2 ? Infinity : -Infinity) : value; });
  }

  function setSides(values) {
    SIDES.forEach(function (name, i) {
      box.elements[name].value = values ? +values[i].toPrecision(4) : "";
    });
    list();
  }

  // Draws the rectangle and lists the heads in it.
  function list() {
    var edges = sides(), region = table.parentNode, body = table.tBodies[0], hits = [];
    body.textContent = "";
    found.textContent = "";
    brush.hidden = region.hidden = !edges;
    wikiState(address());
    if (!edges) return;
    function inside(value, axis) { return Math.min(axis.high, Math.max(axis.low, value)); }
    var left = plane.left(inside(edges[0], plane.x)), right = plane.left(inside(edges[1], plane.x));
    var bottom = plane.top(inside(edges[2], plane.y)), top = plane.top(inside(edges[3], plane.y));
    brush.style.left = left + "px";
    brush.style.top = top + "px";
    brush.style.width = Math.max(0, right - left) + "px";
    brush.style.height = Math.max(0, bottom - top) + "px";
    plane.numbers.forEach(function (number) {
      var x = plane.xs[number], y = plane.ys[number];
      if (x >= edges[0] && x <= edges[1] && y >= edges[2] && y <= edges[3]) hits.push(number);
    });
    hits.sort(function (a, b) { return plane.ys[b] - plane.ys[a] || a - b; });
    hits.slice(0, ROWS).forEach(function (number) {
      var row = body.insertRow(), where = heads.place(number), link = document.createElement("a");
      link.href = href(number);
      link.textContent = heads.name(where);
      row.insertCell().appendChild(link);
      row.insertCell().appendChild(document.createElement("bdi")).textContent = where.title;
      [plane.xs, plane.ys].forEach(function (column) {
        var cell = row.insertCell();
        cell.className = "n";
        cell.textContent = wikiDigits(column[number]);
      });
      row.insertCell().textContent = kinds(number);
    });
    found.textContent = hits.length.toLocaleString("en") + (hits.length === 1 ? " head" : " heads") +
      " in the rectangle" + (hits.length > ROWS ? "; the first " + ROWS + " are listed. " : ". ");
    var more = document.createElement("a");
    more.href = "search.html?" + new URLSearchParams({ q: query(edges), score: score("y").metric });
    more.textContent = "The same in the search, with CSV";
    found.appendChild(more);
  }

  // The rectangle and the filters as a query of the search.
  function query(edges) {
    var parts = [];
    [["x", 0], ["y", 2]].forEach(function (axis) {
      if (isFinite(edges[axis[1]])) parts.push(score(axis[0]).metric + ">=" + edges[axis[1]]);
      if (isFinite(edges[axis[1] + 1])) parts.push(score(axis[0]).metric + "<=" + edges[axis[1] + 1]);
    });
    if (axes.elements.kind.value) parts.push("kind:" + axes.elements.kind.value);
    if (axes.elements.model.value) parts.push("model:" + axes.elements.model.value);
    return parts.join(" ");
  }

  function pointer() {
    var start = null, dragged = false;
    function where(event) {
      var area = place.getBoundingClientRect();
      return { left: event.clientX - area.left, top: event.clientY - area.top };
    }
    place.addEventListener("pointerdown", function (event) {
      if (event.button || !plane.x) return;
      start = where(event);
      dragged = false;
      focus(plane.nearest(start.left, start.top));
    });
    place.addEventListener("pointermove", function (event) {
      if (!plane.x) return;
      var now = where(event);
      if (!start) { focus(plane.nearest(now.left, now.top)); return; }
      if (!dragged && Math.abs(now.left - start.left) + Math.abs(now.top - start.top) < 6) return;
      if (!dragged) { dragged = true; focus(null); place.setPointerCapture(event.pointerId); }
      var a = plane.values(start.left, start.top), b = plane.values(now.left, now.top);
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(function () {
        setSides([Math.min(a.x, b.x), Math.max(a.x, b.x), Math.min(a.y, b.y), Math.max(a.y, b.y)]);
      });
    });
    ["pointerup", "pointercancel"].forEach(function (name) {
      place.addEventListener(name, function () { start = null; });
    });
    place.addEventListener("pointerleave", function () { if (!start && place !== document.activeElement) focus(null); });
    place.addEventListener("click", function (event) { if (dragged) event.preventDefault(); });
  }

  function keys() {
    place.addEventListener("keydown", function (event) {
      if (!plane.numbers.length || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Escape") { setSides(null); return; }
      if (event.key === "Enter" && at !== null) { point.click(); return; }
      if (!/^Arrow/.test(event.key)) return;
      event.preventDefault();
      if (at === null) { focus(plane.numbers[0]); return; }
      if (event.shiftKey) { grow(event.key); return; }
      var next = plane.next(at, event.key);
      if (next !== null) focus(next);
    });
  }

  // Moves the side of the rectangle that the arrow points to by a twentieth of the axis.
  function grow(key) {
    var x = plane.xs[at], y = plane.ys[at], edges = sides() || [x, x, y, y];
    var side = { ArrowLeft: 0, ArrowRight: 1, ArrowDown: 2, ArrowUp: 3 }[key], axis = plane[side < 2 ? "x" : "y"];
    edges[side] += (side % 2 ? 1 : -1) * (axis.high - axis.low) / 20;
    setSides(edges.map(function (value, i) {
      var whole = plane[i < 2 ? "x" : "y"];
      return Math.min(whole.high, Math.max(whole.low, value));
    }));
  }

  wikiHeads(function (data) {
    heads = data;
    if (!heads.data.scores.length) { status.textContent = "No score was measured yet."; return; }
    fill();
    restore();
    show();
    axes.addEventListener("submit", function (event) { event.preventDefault(); });
    axes.addEventListener("change", show);
    axes.querySelector(".swap").addEventListener("click", function () {
      var x = axes.elements.x.value, edges = SIDES.map(function (name) { return box.elements[name].value; });
      axes.elements.x.value = axes.elements.y.value;
      axes.elements.y.value = x;
      SIDES.forEach(function (name, i) { box.elements[name].value = edges[(i + 2) % 4]; });
      show();
    });
    box.addEventListener("submit", function (event) { event.preventDefault(); });
    box.addEventListener("input", list);
    box.querySelector(".clear").addEventListener("click", function () { setSides(null); });
    pointer();
    keys();
    new MutationObserver(show).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
    new ResizeObserver(show).observe(place);
  });
})();
