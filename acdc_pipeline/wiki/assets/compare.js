// Comparison of two heads: their scores, roles and circuits.
(function () {
  "use strict";
  var form = document.querySelector(".pickers");
  var status = document.querySelector(".status");
  var place = document.querySelector(".comparison");
  var sides = document.querySelector(".both-heads");
  var heads = null, latest = 0;

  function make(tag, text, css) {
    var made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (css) made.className = css;
    return made;
  }

  function options(select, list) {
    select.textContent = "";
    list.forEach(function (item) {
      var option = make("option", item[1]);
      option.value = item[0];
      select.appendChild(option);
    });
  }

  function model(slug) { return heads.data.models.find(function (m) { return m.slug === slug; }); }

  function names(shape) {
    var out = [];
    for (var l = 0; l < shape.layers; l++) {
      if (shape.with_heads && shape.with_heads.indexOf(l) < 0) continue;
      for (var h = 0; h < shape.heads; h++) out.push(["a" + l + ".h" + h, "a" + l + ".h" + h]);
    }
    return out;
  }

  function choose(side, wanted) {
    var parts = (wanted || "").split("/");
    var shape = model(parts[0]) || heads.data.models[side === "a" ? 0 : Math.min(1, heads.data.models.length - 1)];
    form.elements[side + "m"].value = shape.slug;
    options(form.elements[side + "h"], names(shape));
    // the head that says most of its model; of one model on both sides the next one on the second
    var telling = shape.telling, usual = telling[side === "b" && form.elements.am.value === shape.slug ? 1 : 0];
    form.elements[side + "h"].value = parts[1] || usual || telling[0] || "";
    form.elements[side + "m"].title = shape.title;
    if (form.elements[side + "h"].selectedIndex < 0) form.elements[side + "h"].selectedIndex = 0;
  }

  function chosen(side) {
    return { slug: form.elements[side + "m"].value, head: form.elements[side + "h"].value };
  }

  function values(data, head) {
    var parts = head.slice(1).split(".h"), at = +parts[0] * data.n_heads + +parts[1];
    return function (metric) {
      var score = data.scores[metric];
      return score && score.values ? score.values[at] : null;
    };
  }

  function segment(svg, from, to, css) {
    var line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.setAttribute("x1", 100 * from + "%");
    line.setAttribute("x2", 100 * to + "%");
    line.setAttribute("y1", css === "zero" ? "20%" : "50%");
    line.setAttribute("y2", css === "zero" ? "80%" : "50%");
    line.setAttribute("class", css);
    svg.appendChild(line);
  }

  function mark(svg, tag, share, css) {
    var shape = document.createElementNS("http://www.w3.org/2000/svg", tag);
    if (tag === "circle") {
      shape.setAttribute("cx", 100 * share + "%");
      shape.setAttribute("cy", "50%");
      shape.setAttribute("r", 4.5);
    } else {
      shape.setAttribute("x", "calc(" + 100 * share + "% - 4px)");
      shape.setAttribute("y", "calc(50% - 4px)");
      shape.setAttribute("width", 8);
      shape.setAttribute("height", 8);
    }
    shape.setAttribute("class", css);
    svg.appendChild(shape);
  }

  function pair(score, a, b) {
    var svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("aria-hidden", "true");
    segment(svg, 0, 1, "whole");
    function share(value) { return Math.min(1, Math.max(0, (value - score.low) / (score.high - score.low))); }
    if (score.low < 0) segment(svg, 0.5, 0.5, "zero");
    if (a !== null && b !== null && a !== undefined && b !== undefined) segment(svg, share(a), share(b), "between");
    if (a !== null && a !== undefined) mark(svg, "circle", share(a), "a");
    if (b !== null && b !== undefined) mark(svg, "rect", share(b), "b");
    return svg;
  }

  function title(data, head) {
    var link = make("a", head);
    link.href = "m/" + data.slug + "/" + head + ".html";
    return link;
  }

  function facts(data, head) {
    var roles = data.roles.filter(function (r) { return r.head === head; }).map(function (r) {
      return r.role.replace(/_/g, " ") + (r.on ? " on " + r.on : "");
    });
    var circuits = data.circuits.filter(function (c) { return head in c.heads; }).map(function (c) {
      var searched = c.cuts.some(function (cut) { return cut.threshold !== null; }), at = c.heads[head];
      return c.task + (searched ? " τ\u00a0=\u00a0" + at : " " + at.toLocaleString("en") + " edges of " + c.method.name);
    });
    return { roles: roles.join(", ") || "–", circuits: circuits.join(", ") || "–" };
  }

  // What one head does, in words: its roles with their claims, and its circuits.
  function say(place, data, head) {
    var roles = data.roles.filter(function (r) { return r.head === head; });
    place.textContent = "";
    roles.forEach(function (role, i) {
      // of a kind on several tasks all stand in one line
      if (roles.findIndex(function (r) { return r.role === role.role; }) < i) return;
      var same = roles.filter(function (r) { return r.role === role.role; });
      var kind = heads.data.kinds.find(function (k) { return k.name === role.role; });
      var line = place.appendChild(make("p")), link = line.appendChild(make("a", kind ? kind.title : role.role));
      link.href = "k/" + role.role + ".html";
      line.prepend("Behaves as ");
      line.append(same.map(function (r) {
        return (r.on ? " on " + r.on : "") + " (" + wikiDigits(r.value) + ")";
      }).join(",") + ". " + (kind ? kind.claim : ""));
    });
    if (!roles.length) place.appendChild(make("p", "No score reaches the threshold of a role."));
    place.appendChild(make("p", "In circuits up to: " + facts(data, head).circuits + ".", "hint"));
  }

  function row(body, name, cells) {
    var made = body.insertRow(), head = make("th", name);
    head.scope = "row";
    made.appendChild(head);
    cells.forEach(function (content) {
      var cell = made.insertCell();
      if (content instanceof Node) { cell.className = "pair"; cell.appendChild(content); }
      else {
        cell.textContent = content;
        if (/^[−≈\d–]/.test(content)) cell.className = "n";
      }
    });
    return made;
  }

  function draw(a, b, one, two) {
    var table = make("table"), top = table.createTHead().insertRow(), body = table.createTBody();
    top.appendChild(make("th", "Score")).scope = "col";
    [[a, one, "a"], [b, two, "b"]].forEach(function (side) {
      var head = make("th", undefined, side[2]);
      head.scope = "col";
      head.appendChild(title(side[0], side[1]));
      head.appendChild(make("br"));
      head.appendChild(make("bdi", model(side[0].slug).title));
      top.appendChild(head);
    });
    top.appendChild(make("th", "On the scale of the score")).scope = "col";
    var mine = facts(a, one), theirs = facts(b, two), x = values(a, one), y = values(b, two);
    row(body, "Behaves as", [mine.roles, theirs.roles, ""]);
    row(body, "In circuits up to", [mine.circuits, theirs.circuits, ""]);
    heads.data.scores.forEach(function (score) {
      var p = x(score.metric), q = y(score.metric);
      if (p === null && q === null) return;
      row(body, heads.title(score), [wikiDigits(p), wikiDigits(q), pair(score, p, q)]);
    });
    var wide = make("div", undefined, "wide");
    wide.tabIndex = 0;
    wide.setAttribute("role", "region");
    wide.setAttribute("aria-label", "Scores of both heads");
    wide.appendChild(table);
    place.textContent = "";
    place.appendChild(wide);
    status.textContent = "";
  }

  // The attention of both heads side by side; on the same text one follows the other.
  function attend(one, two, data) {
    var views = [], number = latest, places = sides.querySelectorAll(".attention");
    sides.hidden = document.querySelector(".all-scores").hidden = false;
    [one, two].forEach(function (side, i) {
      var heading = sides.querySelectorAll("h3")[i];
      heading.textContent = "";
      heading.appendChild(title(data[i], side.head));
      heading.append(" in ");
      heading.appendChild(make("bdi", model(side.slug).title));
      say(sides.querySelectorAll(".says")[i], data[i], side.head);
      wikiAttention(places[i], side.slug, side.head, function (view) {
        views[i] = view;
        if (number === latest && views[0] && views[1]) wikiFollow(views[0], views[1]);
      });
    });
  }

  function show() {
    var one = chosen("a"), two = chosen("b"), number = ++latest;
    wikiState("compare.html?a=" + one.slug + "/" + one.head + "&b=" + two.slug + "/" + two.head);
    function failed() { status.textContent = "The data of a model could not be loaded."; }
    wikiGet(one.slug, function (a) {
      wikiGet(two.slug, function (b) {
        if (number !== latest) return;
        draw(a, b, one.head, two.head);
        attend(one, two, [a, b]);
      }, failed);
    }, failed);
  }

  wikiHeads(function (found) {
    heads = found;
    if (!heads.data.models.length) { status.textContent = "There is no model here."; return; }
    var list = heads.data.models.map(function (m) { return [m.slug, m.title]; });
    options(form.elements.am, list);
    options(form.elements.bm, list);
    var parameters = new URLSearchParams(location.search);
    choose("a", parameters.get("a"));
    choose("b", parameters.get("b"));
    show();
    form.addEventListener("change", function (event) {
      if (event.target.name === "am") choose("a", form.elements.am.value);
      if (event.target.name === "bm") choose("b", form.elements.bm.value);
      show();
    });
    form.querySelector(".swap").addEventListener("click", function () {
      var one = chosen("a"), two = chosen("b");
      choose("a", two.slug + "/" + two.head);
      choose("b", one.slug + "/" + one.head);
      show();
    });
  });
})();
