// The drawing of a circuit: edges and nodes as targets, what is pinned, filters, zoom and pan.
(function () {
  "use strict";
  var svg = document.querySelector("svg.circuit"), figure = svg.closest(".figure");
  var tools = document.querySelector(".circuit-tools"), tip = document.querySelector(".figure-tip");
  var table = document.querySelector("table.edge-list"), state = wikiCircuit.state;
  var edges = new Map(), current = null, pinned = null, zoom = 1, base = 0;
  var SLOTS = { q: "query", k: "key", v: "value" };

  function nameOfRow(row) {
    var span = table.dataset.spans ? "@" + row.cells[3].textContent.trim() : "";
    var slot = row.cells[2].textContent.trim();
    return row.cells[0].textContent.trim() + "->" + row.cells[1].textContent.trim() + (slot ? "<" + slot + ">" : "") + span;
  }

  // Lines of one edge with several routes belong together: `edges` has an entry for each edge.
  function collect() {
    svg.querySelectorAll("g.edge").forEach(function (line) {
      var title = line.querySelector("title"), parts = title.textContent.split("  ");
      var known = edges.get(parts[0]), share = /in (\d+) of (\d+)/.exec(parts[1] || "");
      if (!known) {
        var span = /@(.+)$/.exec(parts[0]), slot = /<([qkv])>/.exec(parts[0]);
        known = {
          name: parts[0], lines: [], row: null, span: span ? span[1] : "", slot: slot ? slot[1] : "r",
          score: share ? share[1] / share[2] : parseFloat((parts[1] || "").replace("score ", "")), note: share ? parts[1] : ""
        };
        edges.set(parts[0], known);
      }
      known.lines.push(line);
      title.remove();
      var hit = line.querySelector("path").cloneNode();
      hit.removeAttribute("opacity");
      hit.removeAttribute("stroke-width");
      hit.setAttribute("class", "hit");
      line.insertBefore(hit, line.firstChild);
      line.setAttribute("role", "button");
      line.setAttribute("tabindex", "-1");
      line.setAttribute("aria-pressed", "false");
      line.addEventListener("pointerenter", function (event) { enter({ edge: known }, event); });
      line.addEventListener("pointermove", function (event) { place(event.clientX, event.clientY); });
      line.addEventListener("pointerleave", leave);
      line.addEventListener("focus", function () { enter({ edge: known }); beside(line); });
      line.addEventListener("blur", leave);
      line.addEventListener("click", function () { pin(known.name); });
      line.addEventListener("keydown", function (event) { key(event, known); });
    });
    Array.prototype.forEach.call(table.tBodies[0].rows, function (row) {
      var known = edges.get(nameOfRow(row));
      if (!known) return;
      known.row = row;
      row.classList.add("drawn");
      row.addEventListener("pointerenter", function () { enter({ edge: known }); });
      row.addEventListener("pointerleave", leave);
      row.addEventListener("focusin", function () { enter({ edge: known }); });
      row.addEventListener("focusout", leave);
      row.addEventListener("click", function (event) { if (!event.target.closest("a")) pin(known.name); });
    });
    edges.forEach(function (known) {
      known.lines.forEach(function (line) { line.setAttribute("aria-label", describe(known)); });
    });
  }

  function describe(known) {
    var ends = known.name.split("@")[0].replace(/<.>/, "").split("->");
    var text = ends[0] + " → " + ends[1] + (SLOTS[known.slot] ? ", " + SLOTS[known.slot] : "") + (known.span ? ", at " + known.span : "");
    if (known.note) text += ": " + known.note;
    else if (known.score === known.score && figure.dataset.unit) {
      text += ": removing it " + (figure.dataset.verb || (known.score < 0 ? "gains" : "costs")) + " " +
        wikiDigits(figure.dataset.verb ? known.score : Math.abs(known.score)) + " " + figure.dataset.unit;
    } else if (known.score === known.score) text += ": score " + wikiDigits(known.score);
    if (known.row) {
      var cut = table.dataset.spans ? 5 : 4;
      text += "; " + table.tHead.rows[0].cells[cut].textContent.toLowerCase() + " " + known.row.cells[cut].textContent;
    }
    return text;
  }

  function isVisible(line) { return !line.classList.contains("off") && !line.classList.contains("out"); }

  // The lines by which anything reaches a node.
  function upstream(nodes) {
    var found = new Set(), seen = new Set(nodes), queue = nodes.slice(), into = {};
    svg.querySelectorAll("g.edge").forEach(function (line) {
      if (isVisible(line)) (into[line.dataset.d] = into[line.dataset.d] || []).push(line);
    });
    while (queue.length) {
      (into[queue.pop()] || []).forEach(function (line) {
        found.add(line);
        if (!seen.has(line.dataset.s)) { seen.add(line.dataset.s); queue.push(line.dataset.s); }
      });
    }
    return found;
  }

  function linesOf(target) {
    if (target.edge) return new Set(target.edge.lines);
    return new Set(Array.prototype.filter.call(svg.querySelectorAll("g.edge"), function (line) {
      return line.dataset.s === target.node || line.dataset.d === target.node;
    }));
  }

  function linesOfPin() {
    var known = edges.get(pinned);
    if (!known) return upstream([pinned]);
    var found = upstream(known.lines.map(function (line) { return line.dataset.s; }));
    known.lines.forEach(function (line) { found.add(line); });
    return found;
  }

  function paint() {
    var other = current && (current.edge ? current.edge.name : current.node) !== pinned;
    var shown = other ? linesOf(current) : pinned ? linesOfPin() : null;
    svg.classList.toggle("lit", !!shown);
    edges.forEach(function (known) {
      var hot = current ? current.edge === known : pinned === known.name;
      known.lines.forEach(function (line) {
        line.classList.toggle("hot", !!shown && shown.has(line));
        line.setAttribute("aria-pressed", String(pinned === known.name));
      });
      if (known.row) known.row.classList.toggle("hot", hot);
    });
    var text = current && current.edge ? describe(current.edge)
      : !current && edges.has(pinned) ? describe(edges.get(pinned)) : "";
    tip.textContent = text;
    tip.hidden = !text;
    tools.querySelector(".unpin").hidden = !pinned;
  }

  function enter(target, event) {
    current = target;
    paint();
    if (event) place(event.clientX, event.clientY);
    else if (target.edge) beside(target.edge.lines.find(isVisible) || target.edge.lines[0]);
  }

  function leave() {
    current = null;
    paint();
    corner();
  }

  // What is said of a pinned edge stands in a corner, where it hides little.
  function corner() { tip.style.left = tip.style.top = "6px"; }

  function place(x, y) {
    var area = tip.parentNode.getBoundingClientRect();
    tip.style.left = Math.max(0, Math.min(x - area.left + 12, area.width - tip.offsetWidth)) + "px";
    tip.style.top = Math.max(0, y - area.top - tip.offsetHeight - 10) + "px";
  }

  // Puts the text beside the middle of a line, inside the part of the drawing that is in view.
  function beside(line) {
    var path = line.querySelector("path"), point = path.getPointAtLength(path.getTotalLength() / 2);
    var at = point.matrixTransform(svg.getScreenCTM()), view = figure.getBoundingClientRect();
    place(Math.min(view.right, Math.max(view.left, at.x)), Math.min(view.bottom, Math.max(view.top, at.y)));
  }

  function pin(name) {
    pinned = pinned === name ? null : name;
    wikiCircuit.set("pin", pinned);
    paint();
    var known = edges.get(pinned);
    if (!known) return;
    if (!current) corner();
    var list = known.row && known.row.closest(".tall");
    if (list) list.scrollTop = known.row.offsetTop - list.clientHeight / 2;
  }

  function key(event, known) {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pin(known.name); return; }
    if (!/^Arrow/.test(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    var order = visible(), at = order.indexOf(known), step = /Right|Down/.test(event.key) ? 1 : -1;
    reach(order[(at + step + order.length) % order.length]).focus();
  }

  // The edges in view in reading order: by where they arrive, from the top left, then by where they start.
  function visible() {
    var found = Array.from(edges.values()).filter(function (known) { return known.lines.some(isVisible); });
    found.forEach(function (known) {
      var path = known.lines.find(isVisible).querySelector("path");
      known.ends = known.ends || [path.getPointAtLength(path.getTotalLength()), path.getPointAtLength(0)];
    });
    return found.sort(function (a, b) {
      return a.ends[0].y - b.ends[0].y || a.ends[0].x - b.ends[0].x || a.ends[1].y - b.ends[1].y || a.ends[1].x - b.ends[1].x;
    });
  }

  // Makes an edge the one that the tab key reaches.
  function reach(known) {
    svg.querySelectorAll("g.edge[tabindex='0']").forEach(function (line) { line.setAttribute("tabindex", "-1"); });
    var line = known.lines.find(isVisible);
    line.setAttribute("tabindex", "0");
    return line;
  }

  function filter() {
    var into = Array.prototype.filter.call(tools.querySelectorAll("[name=into]"), function (box) { return box.checked; })
      .map(function (box) { return box.value; });
    var span = tools.querySelector("[name=at]"), least = tools.querySelector("[name=least]");
    var sizes = Array.from(edges.values(), function (known) { return Math.abs(known.score) || 0; }).sort(function (a, b) { return a - b; });
    var line = +least.value ? sizes[Math.floor(least.value / 100 * (sizes.length - 1))] : 0;
    var said = line ? "at least " + wikiDigits(line) : "any";
    least.nextElementSibling.textContent = said;
    least.setAttribute("aria-valuetext", said);
    edges.forEach(function (known) {
      var out = into.indexOf(known.slot) < 0 || (span && span.value && known.span !== span.value) || (Math.abs(known.score) || 0) < line;
      known.lines.forEach(function (each) { each.classList.toggle("out", !!out); });
    });
    wikiCircuit.set("into", into.length < 4 ? into.join("") || "none" : "");
    wikiCircuit.set("at", span && span.value);
    wikiCircuit.set("least", least.value === least.defaultValue ? "" : least.value);
    refresh();
  }

  function refresh() {
    var used = new Set(), inside = 0, shown = visible();
    edges.forEach(function (known) {
      if (known.lines.some(function (line) { return !line.classList.contains("off"); })) inside += 1;
    });
    var count = (shown.length < inside ? shown.length.toLocaleString("en") + " of " : "") + inside.toLocaleString("en");
    tools.querySelector(".count").textContent = count + " edges";
    svg.querySelectorAll("g.edge").forEach(function (line) {
      if (isVisible(line)) { used.add(line.dataset.s); used.add(line.dataset.d); }
    });
    svg.querySelectorAll(".node").forEach(function (node) { node.classList.toggle("lone", !used.has(node.dataset.n)); });
    if (shown[0]) reach(shown[0]);
    paint();
  }

  function restore() {
    var into = state.get("into"), span = tools.querySelector("[name=at]");
    if (into) tools.querySelectorAll("[name=into]").forEach(function (box) { box.checked = into !== "none" && into.indexOf(box.value) >= 0; });
    if (span) span.value = state.get("at") || "";
    if (state.has("least")) tools.querySelector("[name=least]").value = state.get("least");
    pinned = state.get("pin");
    if (!edges.has(pinned) && !Array.prototype.some.call(svg.querySelectorAll(".node"), function (node) { return node.dataset.n === pinned; })) pinned = null;
  }

  // Scales the drawing about a place in the window, by default the middle of the figure.
  function scale(factor, x, y) {
    var view = figure.getBoundingClientRect(), before = zoom;
    base = base || svg.getBoundingClientRect().width;
    if (zoom === 1) figure.style.maxHeight = figure.offsetHeight + "px";
    zoom = factor ? Math.min(8, Math.max(0.25, zoom * factor)) : 1;
    if (Math.abs(zoom - 1) < 0.01) zoom = 1;
    var left = (x === undefined ? view.width / 2 : x - view.left), top = (y === undefined ? view.height / 2 : y - view.top);
    var across = (figure.scrollLeft + left) / before, down = (figure.scrollTop + top) / before;
    svg.style.width = zoom === 1 ? "" : base * zoom + "px";
    if (zoom === 1) figure.style.maxHeight = "";
    figure.scrollLeft = across * zoom - left;
    figure.scrollTop = down * zoom - top;
  }

  function move() {
    var from = null;
    figure.addEventListener("wheel", function (event) {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      scale(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientX, event.clientY);
    }, { passive: false });
    figure.addEventListener("keydown", function (event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Escape" && pinned) pin(pinned);
      else if (event.key === "+" || event.key === "=") scale(1.25);
      else if (event.key === "-") scale(0.8);
      else if (event.key === "0") scale(0);
    });
    figure.addEventListener("pointerdown", function (event) {
      if (event.button || event.pointerType !== "mouse" || event.target.closest(".edge, .node")) return;
      from = { x: event.clientX + figure.scrollLeft, y: event.clientY + figure.scrollTop };
      figure.setPointerCapture(event.pointerId);
    });
    figure.addEventListener("pointermove", function (event) {
      if (!from) return;
      figure.scrollLeft = from.x - event.clientX;
      figure.scrollTop = from.y - event.clientY;
    });
    figure.addEventListener("pointerup", function () { from = null; });
    figure.addEventListener("pointercancel", function () { from = null; });
    tools.querySelectorAll("[data-zoom]").forEach(function (button) {
      button.addEventListener("click", function () { scale(+button.dataset.zoom); });
    });
  }

  function nodes() {
    svg.querySelectorAll(".node").forEach(function (node) {
      var name = node.dataset.n, link = node.closest("a"), around = link || node;
      if (!link) {
        node.setAttribute("tabindex", "0");
        node.setAttribute("role", "button");
        node.setAttribute("aria-label", name + ": pin what leads to it");
      }
      around.addEventListener("pointerenter", function () { enter({ node: name }); });
      around.addEventListener("pointerleave", leave);
      around.addEventListener("focus", function () { enter({ node: name }); });
      around.addEventListener("blur", leave);
      around.addEventListener("click", function (event) {
        if (link && !event.shiftKey) return;
        event.preventDefault();
        pin(name);
      });
      around.addEventListener("keydown", function (event) {
        if (event.key === "p" || (!link && (event.key === "Enter" || event.key === " "))) { event.preventDefault(); pin(name); }
      });
    });
  }

  collect();
  nodes();
  move();
  restore();
  filter();
  tools.hidden = false;
  tools.addEventListener("input", filter);
  tools.querySelector(".unpin").addEventListener("click", function () { pin(pinned); figure.focus(); });
  wikiCircuit.onCut(refresh);
  corner();
})();
