// The slider over the circuits of a series, and the state of the drawing in the address.
(function () {
  "use strict";
  var slider = document.querySelector(".slider");
  var svg = document.querySelector("svg.circuit");
  var input = slider.querySelector("input");
  var output = slider.querySelector("output");
  var labels = Array.prototype.map.call(slider.querySelectorAll("option"), function (option) {
    return option.label;
  });
  var state = new URLSearchParams(location.hash.slice(1)), listeners = [];

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
    listeners.forEach(function (call) { call(); });
  }

  // `state` is what the address holds of the drawing; `onCut` is called after another circuit is shown.
  window.wikiCircuit = {
    state: state,
    set: function (name, value) {
      if (value) state.set(name, value); else state.delete(name);
      var text = state.toString();
      wikiState(text ? "#" + text : location.pathname.replace(/^.*\//, ""));
    },
    onCut: function (call) { listeners.push(call); }
  };

  var wanted = labels.indexOf(state.get("tau") || "");
  var first = wanted < 0 ? +slider.dataset.shown : wanted;
  // on a screen narrower than the drawing, scroll to the middle, or to the columns of the answers
  var figure = svg.closest(".figure");
  var hidden = figure.scrollWidth - figure.clientWidth;
  figure.scrollLeft = svg.querySelector(".span") ? hidden : hidden / 2;

  // fades the sides beyond which the drawing goes on, and says so
  function fade() {
    var right = figure.scrollWidth - figure.clientWidth - figure.scrollLeft;
    var bottom = figure.scrollHeight - figure.clientHeight - figure.scrollTop;
    var hides = { left: figure.scrollLeft > 4, right: right > 4, top: figure.scrollTop > 4, bottom: bottom > 4 };
    Object.keys(hides).forEach(function (side) { figure.classList.toggle("more-" + side, hides[side]); });
    document.querySelector(".cut-off").hidden = !Object.keys(hides).some(function (side) { return hides[side]; });
  }
  figure.addEventListener("scroll", fade, { passive: true });
  if (window.ResizeObserver) [figure, svg].forEach(function (part) { new ResizeObserver(fade).observe(part); });
  slider.hidden = labels.length < 2;
  input.value = first;
  show(first);
  // an address that was pasted on this page
  addEventListener("hashchange", function () { if (/=/.test(location.hash)) location.reload(); });
  input.addEventListener("input", function () {
    show(+input.value);
    wikiCircuit.set("tau", labels[+input.value]);
  });
})();
