// The page. Every text of the program becomes a text of the page, by `textContent` alone (`say`, `hint`).
"use strict";
{
  const POINTS = 120; // of a graph: two minutes
  const at = (id) => document.getElementById(id);
  const saved = at("data"); // in a report
  const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

  // Words for numbers.

  const duration = (us) => {
    if (us === null || us === undefined) return "–";
    if (us < 1000) return `${us} µs`;
    if (us < 1e6) return `${(us / 1000).toPrecision(3)} ms`;
    if (us < 60e6) return `${(us / 1e6).toPrecision(3)} s`;
    const minutes = Math.floor(us / 60e6);
    return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  };
  const age = (s) => (s < 60 ? `${Math.floor(s)} s` : duration(s * 1e6));
  const bytes = (n) => {
    for (const unit of ["B", "KiB", "MiB", "GiB"]) {
      if (n < 1024) return `${n < 10 && unit !== "B" ? n.toFixed(1) : Math.round(n)} ${unit}`;
      n /= 1024;
    }
    return `${n.toFixed(1)} TiB`;
  };
  const rate = (n) => (n < 10 ? n.toFixed(1) : number.format(n));
  const plural = (n, one, many) => [number.format(n), n === 1 ? one : many];
  const clock = (ms) => new Date(ms).toLocaleTimeString();

  // Elements.

  // What changes the direction of a text, or cannot be seen, is shown as an escape: a name cannot look like another.
  // (Ends of lines and tabs stay: messages have them.)
  const COMMANDS = /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
  const shown = (text) => text.replace(COMMANDS, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
  const say = (node, text) => {
    const words = shown(text);
    if (node.textContent !== words) node.textContent = words;
  };
  const hint = (node, text) => {
    node.title = shown(text ?? "");
  };
  const make = (tag, className) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    return node;
  };
  // Makes the children of `parent` as many as there are `items`, and lets `fill` change each.
  const fit = (parent, items, create, fill) => {
    while (parent.children.length > items.length) parent.lastElementChild.remove();
    while (parent.children.length < items.length) parent.append(create());
    items.forEach((item, n) => fill(parent.children[n], item));
  };
  // What is behind the words "more" of a cell, and stays open while rows come and go.
  const opened = new Set();
  const sayMore = (cell, text, { key, words }) => {
    if (cell.children.length !== 2) {
      const more = make("details");
      const summary = make("summary");
      summary.textContent = "more";
      more.append(summary, make("pre"));
      cell.replaceChildren(make("div"), more);
    }
    const [first, more] = cell.children;
    say(first, text);
    say(more.lastChild, words);
    more.open = opened.has(key);
    more.firstChild.onclick = () => {
      if (more.open) opened.delete(key);
      else opened.add(key);
    };
  };
  // A cell is a text, or { text, className, title, press, more }.
  const table = (parent, columns, rows) => {
    let body = parent.querySelector("tbody");
    const head = columns.map(([name]) => name).join("|");
    if (!body || parent.dataset.head !== head) {
      const whole = make("table");
      const line = make("tr");
      for (const [name, className] of columns) {
        const cell = make("th", className);
        cell.scope = "col";
        cell.textContent = name;
        line.append(cell);
      }
      body = make("tbody");
      const top = make("thead");
      top.append(line);
      whole.append(top, body);
      parent.replaceChildren(whole);
      parent.dataset.head = head;
    }
    fit(body, rows, () => make("tr"), (row, cells) => {
      fit(row, cells, () => make("td"), (cell, value) => {
        const column = columns[[...row.children].indexOf(cell)];
        const { text, className, title, press, more } = typeof value === "string" ? { text: value } : value;
        cell.className = [column[1] ?? "", className ?? ""].join(" ").trim();
        hint(cell, title);
        if (more) {
          sayMore(cell, text, more);
        } else if (press) {
          let button = cell.querySelector("button");
          if (!button) {
            button = make("button");
            button.type = "button";
            cell.replaceChildren(button);
          }
          say(button, text);
          button.onclick = press;
        } else {
          say(cell, text);
        }
      });
    });
    parent.hidden = rows.length === 0;
  };
  const graph = (svg, points) => {
    const most = Math.max(...points, 1e-9);
    const step = 100 / (POINTS - 1);
    const from = POINTS - points.length;
    const text = points.map((y, n) => `${((from + n) * step).toFixed(2)},${(29 - (28 * y) / most).toFixed(2)}`);
    svg.firstElementChild.setAttribute("points", text.join(" "));
  };

  // The counters.

  let before = null; // the sample before
  const cards = new Map(); // of executors: id -> { node, points }

  const share = (now, then, elapsed) =>
    then === undefined || elapsed <= 0 ? "–" : `${Math.max(0, Math.round((100 * (now - then)) / elapsed))} %`;

  const makeCard = () => {
    const node = make("article");
    const title = make("div", "title");
    title.append(make("h3"), make("span", "kind"));
    const bar = make("progress");
    bar.hidden = true;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 100 30");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.append(document.createElementNS("http://www.w3.org/2000/svg", "polyline"));
    node.append(title, make("ul", "numbers"), bar, svg, make("div", "wide"));
    return { node, title, numbers: node.children[1], bar, svg, workers: node.children[4], points: [] };
  };
  const numbers = (card, pairs) => {
    fit(card.numbers, pairs, () => {
      const line = make("li");
      line.append(make("b"), document.createTextNode(""));
      return line;
    }, (line, [value, words, isBad]) => {
      line.className = isBad ? "bad" : "";
      say(line.firstChild, value);
      say(line.lastChild, ` ${words}`);
    });
  };
  const plot = (card, label, value) => {
    card.points.push(value);
    if (card.points.length > POINTS) card.points.shift();
    card.svg.toggleAttribute("hidden", card.points.length < 3);
    graph(card.svg, card.points);
    card.svg.setAttribute("aria-label", label);
  };
  const delayOf = ({ delay }) => {
    const waits = delay.waiting_us;
    const value = waits ?? delay.last_us;
    const pairs = [];
    if (delay.refused) pairs.push(["closed", `to new work: ${delay.refused}`, true]);
    else if (waits !== null) pairs.push([duration(waits), "and longer until spawned work runs", waits > 1e6]);
    else pairs.push([duration(delay.last_us), "until spawned work runs"]);
    return [pairs, value ?? 0];
  };

  const draw = {
    threads: (card, now, then, elapsed) => {
      const [pairs, value] = delayOf(now);
      const taken = then && elapsed > 0 ? ((now.taken - then.taken) * 1000) / elapsed : 0;
      const counts = [
        [`${number.format(now.busy)} of ${number.format(now.threads)}`, "threads busy"],
        [number.format(now.queued), "queued"],
        [rate(taken), "taken from the queues a second"],
      ];
      if (now.waiting > 0) counts.push([number.format(now.waiting), "in a blocking wait"]);
      numbers(card, [...counts, ...pairs]);
      plot(card, "waiting time in the last two minutes", value);
    },
    loop: (card, now) => {
      const [pairs, value] = delayOf(now);
      numbers(card, pairs);
      plot(card, "waiting time in the last two minutes", value);
    },
    processes: (card, now, then, elapsed) => {
      const c = now.counts;
      const ended = c.completed + c.failed;
      const passed = then && elapsed > 0 ? ((ended - then.counts.completed - then.counts.failed) * 1000) / elapsed : 0;
      const pairs = [
        [`${number.format(c.busy)} of ${number.format(c.workers)}`, "workers busy"],
        [number.format(c.pending), "pending"],
        [number.format(c.completed), "completed"],
        [rate(passed), "a second"],
      ];
      const rare = [
        [c.failed, "failed", "failed", true],
        [c.died, "worker died", "workers died", true],
        [c.timed_out, "timed out", "timed out", true],
        [c.retried, "run again", "run again", false],
        [c.started - c.workers, "worker gone or replaced", "workers gone or replaced", false],
      ];
      for (const [n, one, many, isBad] of rare) if (n > 0) pairs.push([...plural(n, one, many), isBad]);
      numbers(card, pairs);
      card.bar.hidden = ended + c.pending === 0;
      card.bar.max = Math.max(1, ended + c.pending);
      card.bar.value = ended;
      card.bar.title = `${number.format(ended)} of ${number.format(ended + c.pending)} items have ended`;
      plot(card, "items a second in the last two minutes", passed);
      const old = new Map((then?.workers ?? []).map((worker) => [worker.pid, worker.process]));
      table(card.workers, WORKERS, now.workers.map(({ pid, process }) => {
        if (!process) return [String(pid), "not a child of this program", "–", "–", "–"];
        const used = share(process.processor_ms, old.get(pid)?.processor_ms, elapsed);
        return [String(pid), process.state, used, bytes(process.memory), age(process.age_s)];
      }));
    },
  };
  const WORKERS = [["process", ""], ["state", ""], ["processor", "number"], ["memory", "number"], ["age", "number"]];
  const KINDS = { threads: "thread pool", processes: "process pool", loop: "event loop" };

  // What runs: a line for each thread and process, with a strip of what was seen there.

  const LOOKS = 600; // a minute
  const strips = new Map(); // of lines: name -> colours of looks, the newest last
  const COLOURS = 8;
  const colours = new Map(); // of labels
  const colourOf = (label) => {
    // A label keeps its colour; those that come later share them.
    if (!colours.has(label) && colours.size < 5000) colours.set(label, (colours.size % COLOURS) + 1);
    return colours.get(label) ?? COLOURS;
  };
  const SVG = "http://www.w3.org/2000/svg";
  const makeLine = () => {
    const node = make("div", "line");
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${LOOKS} 10`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    node.append(make("span", "who"), svg, make("span", "what"));
    return node;
  };
  // Looks that follow one another and saw the same are one rectangle.
  const drawStrip = (svg, looks) => {
    const runs = [];
    const from = LOOKS - looks.length;
    looks.forEach((colour, n) => {
      const last = runs.at(-1);
      if (last && last.colour === colour) last.width += 1;
      else runs.push({ colour, x: from + n, width: 1 });
    });
    fit(svg, runs.filter((run) => run.colour > 0), () => {
      const rect = document.createElementNS(SVG, "rect");
      rect.setAttribute("height", "10");
      return rect;
    }, (rect, run) => {
      rect.setAttribute("x", String(run.x));
      rect.setAttribute("width", String(run.width));
      rect.setAttribute("class", `c${run.colour}`);
    });
  };
  const drawLines = ({ lines, labels }) => {
    const present = new Set(lines.map((line) => line.name));
    for (const name of strips.keys()) if (!present.has(name)) strips.delete(name);
    const most = lines.reduce((length, line) => Math.max(length, line.strip.length), 0);
    at("no-lines").hidden = lines.length > 0;
    fit(at("lines"), lines, makeLine, (node, line) => {
      const looks = strips.get(line.name) ?? [];
      strips.set(line.name, looks);
      for (let n = line.strip.length; n < most; n += 1) looks.push(0);
      for (const number of line.strip) looks.push(number === 0 ? 0 : colourOf(labels[number]));
      looks.splice(0, looks.length - LOOKS);
      const [who, svg, what] = node.children;
      say(who, line.name);
      const count = number.format(line.count);
      hint(who, line.pid === null ? `${count} tasks and polls have begun here` : `${count} items are there`);
      drawStrip(svg, looks);
      what.classList.toggle("idle", line.runs === null);
      say(what, line.runs === null ? "nothing" : `${line.runs}, for ${duration(line.since_us)}`);
      hint(what, line.detail);
    });
  };
  const drawMaps = ({ maps, maps_in_all: all }) => {
    at("maps-section").hidden = all === 0;
    say(at("map-count"), all > maps.length ? `${number.format(all)}, the first ${maps.length}` : number.format(all));
    fit(at("maps"), maps, () => {
      const node = make("div", "map");
      node.append(make("span", "who"), make("progress"), make("span", "what"));
      return node;
    }, (node, map) => {
      const [who, bar, what] = node.children;
      say(who, map.label === "" ? map.kind : map.label);
      hint(who, map.caller === "" ? map.kind : `${map.kind}, called on the thread ${map.caller}`);
      if (map.total === null) bar.removeAttribute("value");
      else {
        bar.max = Math.max(1, map.total);
        bar.value = map.ended;
      }
      const speed = map.since_us > 0 ? map.ended / map.since_us : 0;
      const left = speed > 0 && map.total !== null ? `, ${duration(Math.round((map.total - map.ended) / speed))} left` : "";
      const of = map.total === null ? "" : ` of ${number.format(map.total)}`;
      say(what, `${number.format(map.ended)}${of} in ${duration(map.since_us)}${left}`);
    });
  };

  const drawSample = (now) => {
    const elapsed = before ? now.time_ms - before.time_ms : 0;
    const { program } = now;
    document.title = `${shown(program.name)} · trefoil`;
    say(at("program"), program.name || "trefoil");
    const facts = [`process ${program.pid}`, `${program.processors} processors`];
    if (program.process) {
      facts.push(bytes(program.process.memory));
      facts.push(`${share(program.process.processor_ms, before?.program.process?.processor_ms, elapsed)} of a processor`);
    }
    facts.push(`watched for ${age(program.watched_ms / 1000)}`);
    say(at("facts"), facts.join(" · "));

    const old = new Map((before?.executors ?? []).map((executor) => [executor.id, executor]));
    const present = new Set(now.executors.map((executor) => executor.id));
    for (const [id, card] of cards) {
      if (!present.has(id)) {
        card.node.remove();
        cards.delete(id);
      }
    }
    for (const executor of now.executors) {
      let card = cards.get(executor.id);
      if (!card) {
        card = makeCard();
        cards.set(executor.id, card);
        at("executors").append(card.node);
      }
      say(card.title.firstChild, executor.name);
      say(card.title.lastChild, KINDS[executor.kind]);
      draw[executor.kind](card, executor, old.get(executor.id), elapsed);
    }
    drawLines(now);
    drawMaps(now);
    at("no-executors").hidden = now.executors.length > 0;
    at("not-shown").hidden = now.not_shown === 0;
    say(at("not-shown"), `${number.format(now.not_shown)} threads and processes have no line.`);

    say(at("thread-count"), program.threads.length > 0 ? number.format(program.threads.length) : "");
    if (at("threads").open) {
      const then = new Map((before?.program.threads ?? []).map((thread) => [thread.id, thread.processor_ms]));
      const columns = [["thread", "name"], ["number", "number"], ["state", ""], ["processor", "number"], ["in all", "number"]];
      table(at("thread-table"), columns, program.threads.map((thread) => [
        thread.name,
        String(thread.id),
        thread.state,
        share(thread.processor_ms, then.get(thread.id), elapsed),
        duration(thread.processor_ms * 1000),
      ]));
    }
    before = now;
  };

  // The notes.

  const counted = ({ total, kept }) =>
    total > kept.length ? `${number.format(total)}, the last ${kept.length}` : total > 0 ? number.format(total) : "";
  // Failures of one cause are one row.
  const causes = ({ total, kept }) => {
    const shown = kept.reduce((sum, failure) => sum + failure.count, 0);
    const some = total > shown ? `, the last ${kept.length} causes` : total > kept.length ? ` of ${kept.length} ${kept.length === 1 ? "cause" : "causes"}` : "";
    return total > 0 ? `${number.format(total)}${some}` : "";
  };
  const drawNotes = ({ failures, slow_polls: slow, stuck }) => {
    at("stuck-section").hidden = stuck.total === 0;
    say(at("stuck-count"), counted(stuck));
    fit(at("stuck"), [...stuck.kept].reverse(), () => make("pre"), (node, one) => {
      say(node, `${clock(one.time_ms)}  ${one.text}`);
    });
    say(at("failure-count"), causes(failures));
    at("no-failures").hidden = failures.total > 0;
    const failureColumns = [["at", ""], ["times", "number"], ["task", "name"], ["item", "number"], ["why", "text"], ["attempts", "number"], ["last words", "text"]];
    table(at("failures"), failureColumns, [...failures.kept].reverse().map((failure) => [
      { text: clock(failure.time_ms), className: "time" },
      number.format(failure.count),
      failure.name ?? failure.site,
      failure.item === null ? "" : String(failure.item),
      {
        text: failure.error,
        more: {
          key: `${failure.first_ms} ${failure.site}`,
          words: [
            `task ${failure.task}, spawned at ${failure.site}`,
            failure.count > 1 ? `the last of ${number.format(failure.count)}, the first at ${clock(failure.first_ms)}` : "",
            failure.backtrace ?? "",
          ].filter((line) => line !== "").join("\n"),
        },
      },
      failure.attempts === null ? "" : String(failure.attempts),
      failure.last_words ?? "",
    ]));
    say(at("slow-count"), counted(slow));
    at("no-slow").hidden = slow.total > 0;
    const slowColumns = [["at", ""], ["task", "name"], ["spawned at", ""], ["blocked its loop for", "number"]];
    table(at("slow"), slowColumns, [...slow.kept].reverse().map((poll) => [
      { text: clock(poll.time_ms), className: "time" },
      poll.name ?? `task ${poll.task}`,
      poll.site,
      duration(poll.elapsed_ms * 1000),
    ]));
  };

  // The tasks.

  const asked = { by: "name", group: null, page: 0 };
  const drawTasks = (view) => {
    say(at("task-count"), number.format(view.total));
    for (const button of at("task-choice").children) {
      button.setAttribute("aria-pressed", String(button.dataset.by === asked.by));
    }
    const notes = [`at ${clock(view.time_ms)}, in ${duration(view.cost_us)}`];
    if (view.total === 0) notes.unshift("no tasks");
    if (view.without_details > 0) notes.push(`${number.format(view.without_details)} tasks are only counted`);
    say(at("task-note"), notes.join("; "));
    at("task-group").hidden = view.group === null;
    say(at("task-group-name"), view.group ?? "");
    if (view.by === "tree" || view.group !== null) {
      const columns = [["task", ""], ["name", "name"], ["state", ""], ["for", "number"], ["polls", "number"], ["runs on", ""], ["spawned at", ""]];
      table(at("task-table"), columns, view.tasks.map((task) => [
        { text: `${"· ".repeat(Math.min(task.depth, 12))}#${task.id}`, title: task.kind },
        task.name ?? "",
        task.state,
        duration(task.since_us),
        number.format(task.polls),
        task.runs_on ?? "",
        task.site,
      ]));
    } else {
      const columns = [["group", "name"], ["tasks", "number"], ["queued", "number"], ["running", "number"], ["waiting", "number"], ["polls", "number"]];
      table(at("task-table"), columns, view.groups.map((group) => [
        saved ? group.label : { text: group.label, press: () => choose({ group: group.label, page: 0 }) },
        number.format(group.tasks),
        number.format(group.queued),
        number.format(group.running),
        number.format(group.waiting),
        number.format(group.polls),
      ]));
    }
    at("task-pages").hidden = view.pages < 2;
    say(at("page-number"), `page ${view.page + 1} of ${number.format(view.pages)}`);
    at("page-before").disabled = Boolean(saved) || view.page === 0;
    at("page-after").disabled = Boolean(saved) || view.page + 1 >= view.pages;
  };
  let fetching = false;
  let again = false;
  let timer = null;
  let pause = 2000; // as the last answer says
  const refreshTasks = async () => {
    clearTimeout(timer);
    if (saved) return drawTasks(JSON.parse(saved.textContent).tasks[asked.by]);
    if (!at("tasks").open || document.visibilityState === "hidden") return undefined;
    if (fetching) {
      again = true;
      return undefined;
    }
    fetching = true;
    try {
      const group = asked.group === null ? "" : `&group=${encodeURIComponent(asked.group)}`;
      const answer = await fetch(`tasks?by=${asked.by}&page=${asked.page}${group}`);
      const view = answer.ok ? await answer.json() : null;
      if (view) pause = view.again_ms;
      if (view && !again) drawTasks(view);
    } catch {
      // The stream of events shows that the program has gone.
    }
    fetching = false;
    const now = again;
    again = false;
    timer = setTimeout(refreshTasks, now ? 0 : pause);
    return undefined;
  };
  const choose = (choice) => {
    Object.assign(asked, choice);
    refreshTasks();
  };
  for (const button of at("task-choice").children) {
    button.onclick = () => choose({ by: button.dataset.by, group: null, page: 0 });
  }
  at("all-groups").onclick = () => choose({ group: null, page: 0 });
  at("page-before").onclick = () => choose({ page: asked.page - 1 });
  at("page-after").onclick = () => choose({ page: asked.page + 1 });
  at("tasks").ontoggle = refreshTasks;

  // The stream. It is open while the page can be seen.

  let source = null;
  const tell = (text, isLost) => {
    say(at("state"), text);
    at("state").className = isLost ? "lost" : "";
  };
  const look = () => {
    if (document.visibilityState === "hidden") {
      source?.close();
      source = null;
      tell("paused", false);
      return;
    }
    refreshTasks();
    if (source) return;
    const stream = new EventSource("events");
    source = stream;
    stream.addEventListener("sample", (event) => {
      tell("live", false);
      drawSample(JSON.parse(event.data));
    });
    stream.addEventListener("notes", (event) => drawNotes(JSON.parse(event.data)));
    stream.onerror = () => {
      const isOver = stream.readyState === EventSource.CLOSED;
      if (isOver && source === stream) source = null;
      tell(isOver ? "The program has ended, or serves this page no more." : "The program does not answer.", true);
    };
  };
  if (saved) {
    const data = JSON.parse(saved.textContent);
    at("save").hidden = true;
    at("threads").open = true;
    tell(`as of ${new Date(data.samples.at(-1).time_ms).toLocaleString()}`, false);
    data.samples.forEach(drawSample);
    drawNotes(data.notes);
    at("tasks").open = true;
    drawTasks(data.tasks.name);
  } else {
    tell("connecting", false);
    document.addEventListener("visibilitychange", look);
    look();
  }
}
