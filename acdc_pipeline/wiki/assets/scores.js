// The page of a head: the tables of all scores that its first table lacks, made when they are opened.
(function () {
  "use strict";
  var root = document.documentElement.dataset;

  function make(tag, text) {
    var made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // As `format_aligned` of the pages: significant digits, but at most four decimals.
  function aligned(value, digits) {
    if (value === null || value === undefined) return "–";
    var size = Math.abs(value);
    if (size < 1e-4) return size ? "≈0" : "0";
    var decimals = size === Math.floor(size) ? 0 : Math.min(4, Math.max(0, digits - 1 - Math.floor(Math.log10(size))));
    return (value < 0 ? "−" : "") + size.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  }

  function place(score, value) {
    return Math.min(1, Math.max(0, (value - score.scale[0]) / (score.scale[1] - score.scale[0])));
  }

  function draw(cell, score, marks) {
    if (score.scale[0] < 0) cell.className = "s";
    Object.keys(marks).forEach(function (name) {
      if (marks[name] !== null) cell.style.setProperty(name, Math.round(100 * place(score, marks[name])));
    });
  }

  function among(bounds, value) {
    var shares = [1, 5, 25], at = bounds.top.findIndex(function (bound) { return value >= bound && value > bounds.median; });
    if (at >= 0) return "top " + shares[at] + "\u202f%";
    at = bounds.lowest.findIndex(function (bound) { return value <= bound && value < Math.min(0, bounds.median); });
    return at < 0 ? "" : "lowest " + shares[at] + "\u202f%";
  }

  function table(css, title, note, names) {
    var made = make("table"), caption = made.createCaption(), row = made.createTHead().insertRow();
    made.className = css;
    caption.textContent = title;
    if (note) caption.append(" ", make("small", note));
    names.forEach(function (name) {
      var head = make("th");
      head.scope = "col";
      head.append(name);
      row.appendChild(head);
    });
    made.createTBody();
    return made;
  }

  function line(body, score) {
    var row = body.insertRow(), head = row.appendChild(make("th")), link = head.appendChild(make("a", score.title));
    head.scope = "row";
    link.href = "../../s/" + score.page + ".html";
    return row;
  }

  function scored(body, score, bounds, values, index) {
    var row = line(body, score), value = values ? values[index] : null, drawn = row.insertCell();
    row.insertCell().textContent = aligned(value, 3);
    if (value === null) {
      for (var i = 0; i < 3; i++) row.insertCell();
      return;
    }
    draw(drawn, score, { "--b": value, "--n": score.null, "--t": score.line });
    var has = score.low && score.low[index] !== null;
    row.insertCell().textContent = has ? aligned(score.low[index], 2) + "…" + aligned(score.high[index], 2) : "";
    row.insertCell().textContent = 1 + values.filter(function (other) { return other !== null && other > value; }).length;
    row.insertCell().textContent = among(bounds, value);
  }

  function groups(all, percentiles, shown, values, index) {
    return all.groups.map(function (group, number) {
      var made = table("scores", group[0], group[1], ["Score", "Bar", "Value", "95 % interval", "Rank", "Among all"]);
      all.scores.forEach(function (score) {
        if (score.group === number && shown.indexOf(score.page) < 0) scored(made.tBodies[0], score, percentiles[score.metric], values(score), index);
      });
      return made;
    }).filter(function (made) { return made.tBodies[0].rows.length; });
  }

  // Scores on prompts: a row for each, a column for each of the tasks `numbers`.
  function prompts(all, numbers, values, index) {
    var more = all.tasks.length - numbers.length, rows = {};
    var made = table("matrix", "Task prompts", more ? more + " more task" + (more > 1 ? "s" : "") + " in the table of all heads" : "",
      ["Score"].concat(numbers.map(function (number) {
        var link = make("a", all.tasks[number][0]);
        link.href = all.tasks[number][1];
        return link;
      })));
    all.scores.forEach(function (score) {
      if (score.task === undefined) return;
      var row = rows[score.page] = rows[score.page] || line(made.tBodies[0], score);
      while (row.cells.length <= numbers.length) row.insertCell().textContent = "–";
      if (numbers.indexOf(score.task) < 0) return;
      var cell = row.cells[1 + numbers.indexOf(score.task)], column = values(score), value = column ? column[index] : null;
      cell.textContent = aligned(value, 3);
      if (score.drawn && value !== null && Math.abs(place(score, value) - place(score, 0)) >= 0.01) draw(cell, score, { "--b": value });
    });
    return made;
  }

  document.querySelectorAll("details[data-tasks]").forEach(function (box) {
    var asked = false;
    function fail() { box.appendChild(make("p", "The data file is missing.")); }
    box.addEventListener("toggle", function () {
      if (asked || !box.open) return;
      asked = true;
      function fill(all, percentiles, data) {
        var at = /^a(\d+)\.h(\d+)$/.exec(root.head), index = at[1] * data.n_heads + +at[2];
        var shown = Array.from(document.querySelectorAll("#main > .groups th:not(:has(br)) > a"), function (link) {
          return link.getAttribute("href").split("/").pop().replace(/\.html$/, "");
        });
        function values(score) { return data.scores[score.metric].values; }
        var around = make("div"), numbers = box.dataset.tasks.split(" ").filter(Boolean).map(Number);
        around.className = "groups";
        around.append.apply(around, groups(all, percentiles, shown, values, index));
        if (all.tasks.length) around.append(prompts(all, numbers, values, index));
        box.insertBefore(around, box.lastElementChild);
      }
      wikiGet("tables/" + root.model, function (all) {
        wikiGet("scores/index", function (percentiles) {
          wikiGet(root.model, function (data) { fill(all, percentiles, data); }, fail);
        }, fail);
      }, fail);
    });
  });
})();
