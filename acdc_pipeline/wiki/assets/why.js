// Why a head looks there: the table of pairs of sources, filled when it is opened.
(function () {
  "use strict";
  var names = { rest: "others", bias: "biases" };

  function make(tag, css, text) {
    var made = document.createElement(tag);
    if (css) made.className = css;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function signed(value) {
    return (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(2);
  }

  function called(name) { return names[name] || name; }

  function label(name) {
    var cell = make("th");
    cell.scope = "col";
    if (name[0] !== "a") { cell.textContent = called(name); return cell; }
    var link = make("a", "", name);
    link.href = name + ".html";
    link.tabIndex = -1;
    cell.appendChild(link);
    return cell;
  }

  function table(data, said) {
    var made = make("table", "heat"), head = made.createTHead().insertRow(), body = made.createTBody();
    var largest = Math.max.apply(null, data.s.map(Math.abs)) || 1, cells = [];
    made.setAttribute("role", "grid");
    made.setAttribute("aria-label", "Contributions of pairs of sources; arrow keys choose a pair");
    head.appendChild(make("td", "", "query ↓ key →"));
    data.k.forEach(function (name) { head.appendChild(label(name)); });
    data.q.forEach(function (query, i) {
      var row = body.insertRow(), first = label(query);
      first.scope = "row";
      row.appendChild(first);
      data.k.forEach(function (key, j) {
        var value = data.s[i * data.k.length + j], cell = row.insertCell();
        cell.textContent = signed(value);
        cell.tabIndex = cells.length ? -1 : 0;
        cell.className = value < 0 ? "neg" : "";
        cell.style.setProperty("--w", Math.abs(value) / largest);
        function say() {
          said.textContent = "What " + called(query) + " gives the query meets what " + called(key) + " gives the key: " + signed(value) + ".";
        }
        cell.addEventListener("pointerenter", say);
        cell.addEventListener("focus", say);
        cells.push(cell);
      });
    });
    body.addEventListener("keydown", function (event) {
      var at = cells.indexOf(event.target), wide = data.k.length;
      var to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - wide, ArrowDown: at + wide }[event.key];
      if (at < 0 || to === undefined) return;
      event.preventDefault();
      if (!cells[to] || (Math.abs(to - at) === 1 && Math.floor(to / wide) !== Math.floor(at / wide))) return;
      cells[at].tabIndex = -1;
      cells[to].tabIndex = 0;
      cells[to].focus();
    });
    return made;
  }

  function line(title, found, format) {
    var made = make("p", "edges");
    made.appendChild(make("b", "", title));
    found.forEach(function (one, i) {
      made.appendChild(document.createTextNode(i ? ", " : " "));
      made.appendChild(make("bdi", "", one[one.length - 2]));
      made.appendChild(make("small", "", " " + format(one[one.length - 1])));
    });
    return made;
  }

  function fill(place, data) {
    var said = make("p", "hint said"), around = make("div", "wide");
    said.setAttribute("role", "status");
    around.appendChild(table(data, said));
    place.appendChild(make("p", "hint", "Parts of the score of that key above the mean of the other keys; all cells add up to it."));
    place.appendChild(around);
    place.appendChild(said);
    place.appendChild(line("Read at", data.t, function (share) { return Math.round(100 * share) + " %"; }));
    place.appendChild(line("Raises", data.up, signed));
    place.appendChild(line("Lowers", data.down, signed));
  }

  document.querySelectorAll(".pairs").forEach(function (place) {
    var root = document.documentElement.dataset, asked = false;
    place.hidden = false;
    place.addEventListener("toggle", function () {
      if (asked || !place.open) return;
      asked = true;
      wikiGet("why/" + root.model, function (all) {
        fill(place, all.heads[root.head][place.dataset.number]);
      }, function () { place.appendChild(make("p", "", "The data file is missing.")); });
    });
  });
})();
