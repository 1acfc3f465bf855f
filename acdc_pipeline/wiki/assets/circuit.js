// The slider over the circuits of a series, and the edges of a node under the pointer.
(function () {
  "use strict";
  var slider = document.querySelector(".slider");
  var svg = document.querySelector("svg.circuit");
  var input = slider.querySelector("input");
  var output = slider.querySelector("output");
  var labels = Array.prototype.map.call(slider.querySelectorAll("option"), function (option) {
    return option.label;
  });

  function show(cut) {
    svg.querySelectorAll("[data-at]").forEach(function (part) {
      part.classList.toggle("off", part.dataset.at[cut] !== "1");
    });
    svg.querySelectorAll("[data-dead]").forEach(function (line) {
      line.classList.toggle("dead", line.dataset.dead[cut] === "1");
    });
    document.querySelectorAll("[data-cut]").forEach(function (text) {
      text.hidden = +text.dataset.cut !== cut;
    });
    document.querySelectorAll("[data-cut-row]").forEach(function (row) {
      row.classList.toggle("current", +row.dataset.cutRow === cut);
    });
    document.querySelectorAll(".plot .dot").forEach(function (dot) {
      dot.classList.toggle("on", dot.classList.contains("cut-" + cut));
    });
    document.querySelectorAll("tr[data-first]").forEach(function (row) {
      row.classList.toggle("off", +row.dataset.first > cut);
    });
    output.textContent = labels[cut];
    input.setAttribute("aria-valuetext", labels[cut]);
  }

  function light(name) {
    svg.classList.toggle("lit", !!name);
    svg.querySelectorAll(".edge").forEach(function (edge) {
      edge.classList.toggle("hot", edge.dataset.s === name || edge.dataset.d === name);
    });
  }

  var wanted = labels.indexOf(decodeURIComponent((location.hash.match(/^#tau=(.+)$/) || [])[1] || ""));
  var first = wanted < 0 ? +slider.dataset.shown : wanted;
  // on a screen narrower than the drawing, scroll to the middle, or to the columns of the answers
  var figure = svg.closest(".figure");
  var hidden = figure.scrollWidth - figure.clientWidth;
  figure.scrollLeft = svg.querySelector(".span") ? hidden : hidden / 2;
  slider.hidden = labels.length < 2;
  input.value = first;
  show(first);
  input.addEventListener("input", function () {
    show(+input.value);
    wikiState("#tau=" + encodeURIComponent(labels[+input.value]));
  });
  svg.querySelectorAll(".node").forEach(function (node) {
    var name = node.dataset.n;
    var around = node.closest("a") || node;
    around.addEventListener("pointerenter", function () { light(name); });
    around.addEventListener("pointerleave", function () { light(null); });
    around.addEventListener("focus", function () { light(name); });
    around.addEventListener("blur", function () { light(null); });
  });
})();
