// The search page: filters and their address, results, pages of results, CSV.
(function () {
  "use strict";
  var form = document.getElementById("filters");
  var status = document.querySelector(".status");
  var body = document.querySelector(".hits tbody");
  var head = document.querySelector(".hits .score-name");
  var pages = document.querySelector(".pages");
  var csv = document.querySelector(".csv");
  var ROWS = 50, FIELDS = ["q", "kind", "task", "family", "model", "score", "min", "sort"];
  var heads = null, hits = [], page = 0, shown = null, url = null, latest = 0;

  function option(value, text) {
    var made = document.createElement("option");
    made.value = value;
    made.textContent = text;
    return made;
  }

  function fill() {
    var data = heads.data, families = {};
    data.kinds.forEach(function (k, i) { if (heads.hasRole(i)) form.kind.appendChild(option(k.name, k.name.replace(/_/g, " "))); });
    data.tasks.forEach(function (t) { form.task.appendChild(option(t.name, t.name)); });
    data.models.forEach(function (m) {
      families[m.family] = true;
      form.model.appendChild(option(m.slug, m.title));
    });
    Object.keys(families).sort().forEach(function (f) { form.family.appendChild(option(f, f)); });
    data.scores.forEach(function (s) {
      form.score.appendChild(option(s.metric, heads.title(s)));
    });
  }

  function restore() {
    var parameters = new URLSearchParams(location.search);
    FIELDS.forEach(function (name) {
      var wanted = parameters.get(name);
      if (wanted !== null) form.elements[name].value = wanted;
    });
    page = Math.max(0, parseInt(parameters.get("page") || "1", 10) - 1);
    if (form.score.selectedIndex < 0) form.score.value = "";
  }

  function address() {
    var parameters = new URLSearchParams();
    FIELDS.forEach(function (name) {
      if (form.elements[name].value) parameters.set(name, form.elements[name].value);
    });
    if (page) parameters.set("page", page + 1);
    var text = parameters.toString();
    return location.pathname.replace(/^.*\//, "") + (text ? "?" + text : "");
  }

  function tests() {
    var found = wikiQuery.parse(form.q.value, heads);
    function index(list, name) { return list.findIndex(function (x) { return x.name === name; }); }
    if (form.kind.value) found.push({ kind: "role", role: index(heads.data.kinds, form.kind.value) });
    if (form.task.value) found.push({ kind: "task", task: index(heads.data.tasks, form.task.value) });
    if (form.family.value) found.push({ kind: "family", text: form.family.value.toLowerCase() });
    if (form.model.value) found.push({ kind: "slug", text: form.model.value });
    return found;
  }

  function first(list, kind) { return list.filter(function (test) { return test.kind === kind; })[0]; }

  // The task on which most heads behave as a kind; -1 for kinds that are of no task.
  function usualTask(role) {
    var counts = {}, roles = heads.data.roles, most = -1;
    for (var i = 0; i < roles.length; i += 3) {
      if (roles[i + 1] === role) counts[roles[i + 2]] = (counts[roles[i + 2]] || 0) + 1;
    }
    Object.keys(counts).forEach(function (task) { if (!(counts[task] <= counts[most])) most = +task; });
    return most;
  }

  // Where no score is chosen: the one that decides on the kind, else what removal costs on the task.
  function usual(list) {
    var scores = heads.data.scores, role = first(list, "role"), task = first(list, "task");
    var number = task ? task.task : role ? usualTask(role.role) : -1, on = number < 0 ? null : heads.data.tasks[number].name;
    var name = role ? heads.data.kinds[role.role].score : task ? "mean_ablation" : "";
    var found = scores.filter(function (s) { return s.name === name && (!on || !s.task || s.task === on); })[0] || scores[0];
    return found ? found.metric : null;
  }

  function search() {
    var list = tests();
    var named = list.filter(function (t) { return t.kind === "score" || t.kind === "show"; })[0];
    shown = named ? named.metric : form.score.value || usual(list);
    var needed = {};
    list.forEach(function (t) { if (t.metric) needed[t.metric] = true; });
    if (shown) needed[shown] = true;
    var number = ++latest;
    // scores of an earlier search may arrive after those of a later one
    heads.load(Object.keys(needed), function () { if (number === latest) find(list); });
  }

  function find(list) {
    var column = shown ? heads.columns[shown] : null, task = first(list, "task");
    var least = form.min.value === "" ? null : parseFloat(form.min.value);
    hits = [];
    for (var number = 0; number < heads.total; number++) {
      if (!heads.exists(number)) continue;
      if (least !== null && !(column && column[number] >= least)) continue;
      if (list.length) {
        var at = heads.place(number), good = true;
        for (var i = 0; i < list.length && good; i++) good = wikiQuery.passes(list[i], number, at, heads);
        if (!good) continue;
      }
      hits.push(number);
    }
    if (column && form.sort.value !== "place") {
      var sign = form.sort.value === "low" ? 1 : -1;
      hits.sort(function (a, b) {
        var x = column[a], y = column[b];
        if (task && !form.sort.value && heads.standing(a, task.task) !== heads.standing(b, task.task)) {
          return heads.standing(a, task.task) - heads.standing(b, task.task);
        }
        if (x !== x || y !== y) return (x !== x) - (y !== y) || a - b;
        return sign * (x - y) || a - b;
      });
    }
    page = Math.min(page, Math.max(0, Math.ceil(hits.length / ROWS) - 1));
    draw(list);
  }

  function cell(row, text, css) {
    var made = row.insertCell();
    if (css) made.className = css;
    made.textContent = text;
    return made;
  }

  function link(href, text) {
    var made = document.createElement("a");
    made.href = href;
    made.textContent = text;
    return made;
  }

  function circuits(number) {
    return (heads.circuits[number] || []).map(function (circuit) {
      return heads.data.tasks[circuit[0]].name + " " + circuit[1].toLocaleString("en", { maximumFractionDigits: 9 });
    }).join(", ");
  }

  // What the kinds of the query are, or what a word that is no name may have meant.
  function explain(list, unknown) {
    var place = document.querySelector(".meant"), near = [];
    place.textContent = "";
    if (unknown.length) {
      near = heads.words.near(form.q.value);
      unknown.forEach(function (test) { near = near.concat(heads.words.near(test.word)); });
      near = near.filter(function (one, i) { return near.findIndex(function (x) { return x.query === one.query; }) === i; }).slice(0, 4);
      near.forEach(function (one, i) {
        place.append(i ? ", " : "Did you mean ", link("search.html?q=" + encodeURIComponent(one.query), one.shown));
      });
      if (near.length) place.append("?");
      return;
    }
    list.filter(function (test) { return test.kind === "task"; }).forEach(function (test) {
      var task = heads.data.tasks[test.task];
      place.append(link("t/" + task.slug + "/index.html", task.title), ": its circuits in every model, and who does what. Below, heads with a role on it come first. ");
    });
    list.filter(function (test) { return test.kind === "role"; }).forEach(function (test) {
      var kind = heads.data.kinds[test.role];
      place.append(link("k/" + kind.name + ".html", kind.words[0][0].toUpperCase() + kind.words[0].slice(1)), ": " + kind.claim + " ");
      if (heads.hasRole(test.role)) return;
      place.append("No head of this site behaves so. ");
      kind.near.filter(function (i) { return heads.hasRole(i); }).slice(0, 2).forEach(function (i, at) {
        place.append(at ? ", " : "Nearest kinds: ", link("search.html?kind=" + heads.data.kinds[i].name, heads.data.kinds[i].words[0]));
      });
    });
  }

  function draw(list) {
    var score = shown && heads.data.scores.find(function (s) { return s.metric === shown; });
    var unknown = list.filter(function (t) { return t.kind === "unknown"; });
    head.textContent = score ? heads.title(score) : "Score";
    body.textContent = "";
    hits.slice(page * ROWS, (page + 1) * ROWS).forEach(function (number) {
      var at = heads.place(number), row = body.insertRow(), name = heads.name(at);
      row.insertCell().appendChild(link("m/" + at.slug + "/" + name + ".html", name));
      row.insertCell().appendChild(document.createElement("bdi")).textContent = at.title;
      cell(row, shown ? wikiDigits(heads.columns[shown][number]) : "–", "n");
      cell(row, heads.roleNames(number));
      cell(row, circuits(number));
    });
    explain(list, unknown);
    status.textContent = unknown.length
      ? "“" + unknown[0].word + "” is no score, kind, task or model of this site."
      : hits.length.toLocaleString("en") + (hits.length === 1 ? " head" : " heads") + " of " +
        heads.count.toLocaleString("en");
    var last = Math.max(1, Math.ceil(hits.length / ROWS));
    pages.hidden = last < 2;
    pages.querySelector("span").textContent = "page " + (page + 1) + " of " + last;
    pages.querySelector("[data-go='-1']").disabled = page === 0;
    pages.querySelector("[data-go='1']").disabled = page === last - 1;
    csv.hidden = !hits.length;
    csv.removeAttribute("href");
    wikiState(address());
  }

  // Cells that a spreadsheet would treat as formulas get a leading quote.
  function safe(text) {
    var guarded = /^[=+\-@\t\r]/.test(text) ? "'" + text : text;
    return '"' + guarded.replace(/"/g, '""') + '"';
  }

  function table() {
    var lines = ["model,head,layer,index,score,value,roles,circuits"];
    hits.forEach(function (number) {
      var at = heads.place(number), value = shown ? heads.columns[shown][number] : NaN;
      lines.push([
        safe(at.title), heads.name(at), at.layer, at.head, safe(shown || ""),
        value !== value ? "" : +value.toPrecision(7), safe(heads.roleNames(number)), safe(circuits(number))
      ].join(","));
    });
    return lines.join("\r\n") + "\r\n";
  }

  csv.addEventListener("click", function () {
    if (url) URL.revokeObjectURL(url);
    url = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    csv.href = url;
  });
  csv.href = "#";

  wikiHeads(function (found) {
    heads = found;
    fill();
    restore();
    search();
    form.addEventListener("submit", function (event) { event.preventDefault(); page = 0; search(); });
    form.addEventListener("input", function () { page = 0; search(); });
    pages.addEventListener("click", function (event) {
      if (!event.target.dataset.go) return;
      page += +event.target.dataset.go;
      draw(tests());
      document.querySelector(".hits").scrollIntoView();
    });
  });
})();
