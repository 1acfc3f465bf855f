// The data of the search, and the parser of its queries.
(function () {
  "use strict";

  function decode(text) {
    var bytes = atob(text), buffer = new ArrayBuffer(bytes.length), view = new Uint8Array(buffer);
    for (var i = 0; i < bytes.length; i++) view[i] = bytes.charCodeAt(i);
    var numbers = new DataView(buffer), out = new Float32Array(bytes.length / 4);
    for (var j = 0; j < out.length; j++) out[j] = numbers.getFloat32(4 * j, true);
    return out;
  }

  // Heads are numbered over all models; `place` turns a number into model, layer and head.
  function Heads(data) {
    this.data = data;
    this.first = [];
    this.count = 0;
    var total = 0;
    for (var i = 0; i < data.models.length; i++) {
      this.first.push(total);
      var shape = data.models[i];
      total += shape.layers * shape.heads;
      this.count += (shape.with_heads ? shape.with_heads.length : shape.layers) * shape.heads;
    }
    this.total = total;
    this.owner = new Uint16Array(total);
    for (var m = 0; m < data.models.length; m++) {
      this.owner.fill(m, this.first[m], m + 1 < this.first.length ? this.first[m + 1] : total);
    }
    this.roles = index(data.roles);
    this.circuits = index(data.circuits);
    this.columns = {};
    this.lines = {};
  }

  function index(triples) {
    var out = {};
    for (var i = 0; i < triples.length; i += 3) {
      (out[triples[i]] = out[triples[i]] || []).push([triples[i + 1], triples[i + 2]]);
    }
    return out;
  }

  Heads.prototype.place = function (number) {
    var model = this.owner[number], shape = this.data.models[model];
    var inside = number - this.first[model];
    return {
      model: model, slug: shape.slug, title: shape.title, family: shape.family,
      layer: Math.floor(inside / shape.heads), head: inside % shape.heads, layers: shape.layers
    };
  };

  // Whether there is a head with that number: layers without attention have none.
  Heads.prototype.exists = function (number) {
    var model = this.owner[number], shape = this.data.models[model];
    var layer = Math.floor((number - this.first[model]) / shape.heads);
    return !shape.with_heads || shape.with_heads.indexOf(layer) >= 0;
  };

  // The kinds that a head behaves as, as text.
  Heads.prototype.roleNames = function (number) {
    var data = this.data;
    return (this.roles[number] || []).map(function (role) {
      return data.kinds[role[0]].name.replace(/_/g, " ") +
        (role[1] >= 0 ? " on " + data.tasks[role[1]].name : "");
    }).join(", ");
  };

  // 0 for a head with a role on a task, 1 for others in a circuit of it, else 2.
  Heads.prototype.standing = function (number, task) {
    if ((this.roles[number] || []).some(function (role) { return role[1] === task; })) return 0;
    return (this.circuits[number] || []).some(function (circuit) { return circuit[0] === task; }) ? 1 : 2;
  };

  // Whether any head behaves as a kind.
  Heads.prototype.hasRole = function (role) {
    for (var i = 1; i < this.data.roles.length; i += 3) if (this.data.roles[i] === role) return true;
    return false;
  };

  Heads.prototype.title = function (score) {
    return score.title + (score.task ? " on " + score.task : "");
  };

  Heads.prototype.name = function (at) { return "a" + at.layer + ".h" + at.head; };

  // Loads the columns of `metrics`, then calls back.
  Heads.prototype.load = function (metrics, then) {
    var heads = this, left = metrics.length;
    if (!left) { then(); return; }
    metrics.forEach(function (metric) {
      function done() { if (!--left) then(); }
      if (heads.columns[metric]) { done(); return; }
      var score = heads.data.scores.find(function (s) { return s.metric === metric; });
      wikiGet(score.file, function (found) {
        heads.columns[metric] = decode(found.float32);
        heads.lines[metric] = { nulls: found.nulls, roles: found.lines };
        done();
      }, function () {
        heads.columns[metric] = new Float32Array(heads.total).fill(NaN);
        heads.lines[metric] = { nulls: [], roles: [] };
        done();
      });
    });
  };

  Heads.prototype.score = function (name) {
    var wanted = name.toLowerCase();
    function same(s) {
      return s.metric.toLowerCase() === wanted ||
        (s.task ? s.name + ":" + s.task : s.name).toLowerCase() === wanted;
    }
    return this.data.scores.find(same) || null;
  };

  var COMPARE = {
    ">": function (a, b) { return a > b; }, ">=": function (a, b) { return a >= b; },
    "<": function (a, b) { return a < b; }, "<=": function (a, b) { return a <= b; },
    "=": function (a, b) { return a === b; }
  };

  // Parses a query into tests. Words without another meaning are parts of a model's name.
  function parse(text, heads) {
    var tests = [], data = heads.data, words = text.trim().split(/\s+/).filter(Boolean);
    var known = heads.words = heads.words || window.wikiWords && wikiWords.of(data);
    for (var at = 0; at < words.length; at++) {
      // names of several words first: `name mover`
      var named = known && known.longest(words.slice(at));
      if (named) { tests.push(named.test); at += named.length - 1; } else parseWord(words[at], tests, heads, known);
    }
    return tests;
  }

  // Adds the test of one word.
  function parseWord(word, tests, heads, known) {
    var data = heads.data;
    var found = word.match(/^(?:a(\d+)\.h(\d+)|l(\d+)h(\d+)|(\d+)\.(\d+))$/i);
    if (found) {
      var numbers = found.slice(1).filter(function (part) { return part !== undefined; });
      tests.push({ kind: "head", layer: +numbers[0], head: +numbers[1], word: word });
      return;
    }
    found = word.match(/^([^<>=]+?)(>=|<=|>|<|=)(-?[\d.]+(?:e-?\d+)?)$/i);
    if (found) {
      var name = found[1].toLowerCase(), test = COMPARE[found[2]], number = parseFloat(found[3]);
      if (name === "layer" || name === "head" || name === "depth") {
        tests.push({ kind: name === "head" ? "index" : name, test: test, number: number, word: word });
        return;
      }
      var task = data.tasks.findIndex(function (t) { return t.name.toLowerCase() === name; });
      var score = heads.score(name);
      if (score) tests.push({ kind: "score", metric: score.metric, test: test, number: number, word: word });
      else if (task >= 0) tests.push({ kind: "survives", task: task, test: test, number: number, word: word });
      else tests.push({ kind: "unknown", word: word });
      return;
    }
    found = word.match(/^(kind|task|family|model|layer|head):(.+)$/i);
    var key = found ? found[1].toLowerCase() : "", rest = (found ? found[2] : word).toLowerCase();
    if (key === "layer" || key === "head") {
      tests.push({ kind: key === "head" ? "index" : key, test: COMPARE["="], number: +rest, word: word });
      return;
    }
    var kind = data.kinds.findIndex(function (k) { return k.name === rest.replace(/[- ]/g, "_"); });
    if ((!key || key === "kind") && kind >= 0) { tests.push({ kind: "role", role: kind, word: word }); return; }
    var named = data.tasks.findIndex(function (t) { return t.name.toLowerCase() === rest; });
    if ((!key || key === "task") && named >= 0) { tests.push({ kind: "task", task: named, word: word }); return; }
    if (key === "kind" || key === "task") { tests.push({ kind: "unknown", word: word }); return; }
    if (!key && heads.score(rest)) { tests.push({ kind: "show", metric: heads.score(rest).metric, word: word }); return; }
    var isModel = data.models.some(function (model) { return model.title.toLowerCase().indexOf(rest) >= 0 || model.slug.indexOf(rest) >= 0; });
    if (known && !key && !isModel) {
      if (known.isStop(word)) return;
      tests.push(known.one(word) ? known.one(word).test : { kind: "unknown", word: word });
      return;
    }
    tests.push({ kind: key === "family" ? "family" : "model", text: rest, word: word });
  }

  function passes(test, number, at, heads) {
    switch (test.kind) {
      case "head": return at.layer === test.layer && at.head === test.head;
      case "layer": return test.test(at.layer, test.number);
      case "index": return test.test(at.head, test.number);
      case "depth": return test.test(at.layers > 1 ? at.layer / (at.layers - 1) : 0, test.number);
      case "score": return test.test(heads.columns[test.metric][number], test.number);
      case "role": return (heads.roles[number] || []).some(function (r) { return r[0] === test.role; });
      case "task": return heads.standing(number, test.task) < 2;
      case "survives": return (heads.circuits[number] || []).some(function (c) {
        return c[0] === test.task && test.test(c[1], test.number);
      });
      case "family": return at.family.toLowerCase() === test.text;
      case "slug": return at.slug === test.text;
      case "model": return at.title.toLowerCase().indexOf(test.text) >= 0 || at.slug.indexOf(test.text) >= 0;
      case "show": return true;
      default: return false;
    }
  }

  // A number as pages show it, with three digits or so.
  window.wikiDigits = function (value) {
    if (value === null || value === undefined || value !== value) return "–";
    var size = Math.abs(value), places = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4;
    if (size < 1e-4) return size ? "≈0" : "0";
    return value.toFixed(value === Math.round(value) ? 0 : places).replace("-", "−");
  };

  window.wikiHeads = function (then) { wikiGet("search", function (data) { then(new Heads(data)); }); };
  window.wikiQuery = { parse: parse, passes: passes };
})();
