// Names of kinds, tasks and scores of one or more words, and what a mistyped one may have meant.
(function () {
  "use strict";
  var STOP = /^(?:heads?|an?|the|of|on|in|is|are|do|does|there|which|what|models?)$/, MOST_WORDS = 6;

  // In small letters, without hyphens, words like "head" and the s of a plural.
  function plain(text) {
    return text.toLowerCase().replace(/[-_:]+/g, " ").split(/\s+/).filter(function (word) {
      return word && !STOP.test(word);
    }).map(function (word) {
      return word.length > 3 && /[^s]s$/.test(word) ? word.slice(0, -1) : word;
    }).join(" ");
  }

  // The number of letters to add, remove, change or swap with their neighbour.
  function distance(a, b) {
    var before = [], last = Array.from({ length: b.length + 1 }, function (_, i) { return i; });
    for (var i = 1; i <= a.length; i++) {
      var row = [i];
      for (var j = 1; j <= b.length; j++) {
        row[j] = Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
        if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j], before[j - 2] + 1);
      }
      before = last;
      last = row;
    }
    return last[b.length];
  }

  function Words(data) {
    var names = this.names = new Map();
    function add(text, found) { var key = plain(text); if (key && !names.has(key)) names.set(key, found); }
    data.kinds.forEach(function (kind, i) {
      kind.words.forEach(function (word) {
        add(word, { query: "kind:" + kind.name, shown: kind.words[0], test: { kind: "role", role: i, word: kind.name } });
      });
    });
    data.tasks.forEach(function (task, i) {
      [task.name, task.title].forEach(function (word) {
        add(word, { query: "task:" + task.name, shown: task.title, test: { kind: "task", task: i, word: task.name } });
      });
    });
    data.scores.forEach(function (score) {
      var query = score.task ? score.name + ":" + score.task : score.name;
      [score.title, score.name].forEach(function (word) {
        add(word, { query: query, shown: score.title, test: { kind: "show", metric: score.metric, word: score.name } });
      });
    });
    // the first words of a task's title, where they name nothing else
    data.tasks.forEach(function (task) {
      for (var parts = plain(task.title).split(" "), n = parts.length - 1; n > 1; n--) {
        add(parts.slice(0, n).join(" "), names.get(plain(task.name)));
      }
    });
  }

  Words.prototype.one = function (word) { return this.names.get(plain(word)) || null; };

  // The longest name of two or more words that `words` begin with, and their number.
  Words.prototype.longest = function (words) {
    for (var length = Math.min(MOST_WORDS, words.length); length > 1; length--) {
      var part = words.slice(0, length).join(" "), found = this.names.get(plain(part));
      if (found && !/[<>=]/.test(part)) return { test: found.test, length: length };
    }
    return null;
  };

  Words.prototype.isStop = function (word) { return STOP.test(word.toLowerCase()); };

  // Up to three names that a text may have meant: those that contain it, then the nearest.
  Words.prototype.near = function (text) {
    var wanted = plain(text.replace(/^(?:kind|task):/i, "")), ranked = [], seen = {};
    if (!wanted) return [];
    this.names.forEach(function (found, name) {
      var far = name.indexOf(wanted) >= 0 && wanted.length > 2 ? 0.5 : distance(wanted, name);
      if (far <= Math.max(1, Math.floor(name.length / 4))) ranked.push([far, name, found]);
    });
    ranked.sort(function (a, b) { return a[0] - b[0] || (a[1] < b[1] ? -1 : 1); });
    return ranked.map(function (one) { return one[2]; }).filter(function (found) {
      return !seen[found.query] && (seen[found.query] = true);
    }).slice(0, 3);
  };

  window.wikiWords = { of: function (data) { return new Words(data); } };
})();
