//! All tables and plots, in one command: `cargo bench` in the checkout.
//!
//! ```text
//! cargo bench                         # everything, some ten minutes; prints, and writes below target/tables
//! cargo bench -- threads hyper        # these tables, whole
//! cargo bench -- --quick              # a look in a minute
//! cargo bench -- --write              # all or some, into benches/results, the page and docs/plots
//! cargo bench -- --scaling FILE --write # only a record of the bench `scaling`, perhaps from elsewhere
//! cargo bench -- --draw-scaling       # its plots again, of the table that is there
//! cargo bench -- --programs FILE --write # only what `benches/programs.sh` has measured
//! cargo bench -- --draw-programs      # its plot again, of the table that is there
//! cargo bench -- --loads [threads]    # some rows of these tables under each load (`busy.rs`)
//! cargo bench -- --draw-loads --write # the table of the records that `--loads` has left
//! ```
//!
//! 1. The benchmarks are built, once, and then run without cargo, one after the other, each with a
//!    deadline.
//! 2. Each prints its rows as they come and leaves a record (`record.rs`).
//! 3. When all have ended, each table and each plot is written whole, with the id of this run. All
//!    rows, with the goals and every peer, are in `target/tables/<name>.md`.
//!
//! A benchmark that fails, or was not run whole, leaves its table alone, and this program fails. If
//! one place of the document is broken, nothing is written at all.
#![allow(clippy::disallowed_methods)] // that door is for the crate's own protocols

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use trefoil_benches::busy::LOADS;
use trefoil_benches::record::Record;
use trefoil_benches::report::plots::PLOTS;
use trefoil_benches::report::run::{self, Run};
use trefoil_benches::report::{behind, document, headline, links, loads, programs, scaling, table};

/// A table of the document: the benchmark that it is made of, and the seconds that one may take.
const TABLES: [(&str, u64); 8] = [
    ("cell", 60),
    ("waiting", 120),
    ("threads", 400),
    ("event_loop", 300),
    ("hyper", 120),
    ("processes", 600),
    ("memory", 120),
    ("channels", 240),
];

/// Above this, a table says that the machine was busy.
const BUSY: f64 = 0.1;

/// The place for what a machine with more processors has shown.
const SCALING: &str = "scaling";

struct Wanted {
    scaling: Option<PathBuf>,
    draw_scaling: bool,
    programs: Option<PathBuf>,
    draw_programs: bool,
    loads: bool,
    draw_loads: bool,
    quick: bool,
    write: bool,
    tables: Vec<&'static str>,
}

/// What the command line asks for; `Err`: what to print instead.
fn wanted(mut args: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted {
        scaling: None,
        draw_scaling: false,
        programs: None,
        draw_programs: false,
        loads: false,
        draw_loads: false,
        quick: false,
        write: false,
        tables: Vec::new(),
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--scaling" => wanted.scaling = Some(args.next().ok_or("which record?")?.into()),
            "--draw-scaling" => wanted.draw_scaling = true,
            "--programs" => wanted.programs = Some(args.next().ok_or("which figures?")?.into()),
            "--draw-programs" => wanted.draw_programs = true,
            "--loads" => wanted.loads = true,
            "--draw-loads" => wanted.draw_loads = true,
            "--bench" => {} // cargo's
            "--quick" => wanted.quick = true,
            "--write" => wanted.write = true,
            name => match TABLES.iter().find(|table| table.0 == name) {
                Some(table) => wanted.tables.push(table.0),
                None => {
                    let all = TABLES.map(|table| table.0).join(" ");
                    return Err(format!(
                        "{name}? There are --quick, --write, and the tables {all}"
                    ));
                }
            },
        }
    }
    if wanted.tables.is_empty() {
        wanted.tables = TABLES.map(|table| table.0).into();
    }
    wanted.write &= !wanted.quick;
    Ok(wanted)
}

/// Builds them; where each program lies.
fn build(top: &Path, tables: &[&str]) -> Result<Vec<(String, PathBuf)>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(top).args([
        "bench",
        "--locked",
        "--package",
        "trefoil-benches",
        "--no-run",
    ]);
    // More peers; two declare a newer toolchain than ours but build with it.
    command.args(["--features", "forte,regions", "--ignore-rust-version"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    for table in tables {
        command.args(["--bench", table]);
    }
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo: {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    // One object in each line; the path of a program is the only field of this name.
    let paths = text
        .lines()
        .filter_map(|line| line.split("\"executable\":\"").nth(1)?.split('"').next());
    let paths: Vec<PathBuf> = paths.map(PathBuf::from).collect();
    let find = |table: &str| {
        let is = |path: &&PathBuf| {
            let stem = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default();
            stem.rsplit_once('-').is_some_and(|(name, _)| name == table)
        };
        let path = paths
            .iter()
            .find(is)
            .ok_or(format!("cargo made no program for {table}"))?;
        Ok((table.to_owned(), path.clone()))
    };
    tables.iter().map(|table| find(table)).collect()
}

/// Runs one, or with these arguments a part of it, and reads what it leaves.
fn measure(
    program: &Path,
    record: &Path,
    quick: bool,
    seconds: u64,
    part: Option<[&str; 4]>,
) -> Result<Record, String> {
    let _ = std::fs::remove_file(record);
    let mut command = Command::new(program);
    command
        .arg("--bench")
        .arg("--record")
        .arg(record)
        .args(part.iter().flatten())
        .stdin(Stdio::null());
    if quick {
        command.arg("--quick");
    }
    let mut child = command
        .spawn()
        .map_err(|error| format!("it does not start: {error}"))?;
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(100)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("still running after {seconds} s"));
            }
        }
    };
    if !status.success() {
        return Err(status.to_string());
    }
    let text =
        std::fs::read_to_string(record).map_err(|error| format!("it left no record: {error}"))?;
    let record = Record::read(&text)?;
    if record.partial != part.is_some() || record.quick != quick || record.rows.is_empty() {
        return Err("it did not measure everything".to_owned());
    }
    Ok(record)
}

/// How long it took, and how busy the machine was.
fn circumstances(record: &Record) -> String {
    let others = record.others.map_or(String::new(), |others| {
        let busy = if others > BUSY {
            ": a busy machine, on which no ratio below 1.5 is one"
        } else {
            ""
        };
        format!(", while other programs used {others:.2} processors{busy}")
    });
    format!("{:.0} s{others}.", record.seconds)
}

/// The text of a table's place: whose it is, the rows, the plots.
fn text(run: &Run, name: &str, record: &Record) -> String {
    let mut out = document::signed(&run.id, "");
    let _ = writeln!(out, "Run {}: {}\n", run.id, circumstances(record));
    out += &table::page(&record.rows);
    let (ahead, all) = table::ahead(&record.rows);
    let _ = writeln!(out, "\n{}", headline::verdict(ahead, all));
    out += &behind::reasons(&record.rows);
    for note in &record.notes {
        let _ = writeln!(out, "\n{note}");
    }
    for plot in PLOTS.iter().filter(|plot| plot.tables.contains(&name)) {
        let _ = writeln!(out, "\n{}", links::picture(plot.title, plot.id));
    }
    out
}

/// Every row with every column, for a file of its own.
fn details(run: &Run, name: &str, record: &Record) -> String {
    format!(
        "# {name}, run {}\n\n{} \"here\": a goal in time is met when multiplied by the {:.2} that this machine takes longer than \
         the one that the goals were set on.\n\n{}",
        run.id,
        circumstances(record),
        record.slowness,
        table::details(&record.rows)
    )
}

/// What stands at the head of the document: one run, or several.
fn head(run: &Run, document: &str) -> Result<String, String> {
    let mut older: Vec<(&str, Vec<String>)> = Vec::new();
    for (name, _) in TABLES {
        let id = document::run_of(document, name)?.unwrap_or("none");
        if id == run.id {
            continue;
        }
        let name = format!("`{name}`");
        match older.iter_mut().find(|(other, _)| *other == id) {
            Some((_, names)) => names.push(name),
            None => older.push((id, vec![name])),
        }
    }
    let mut out = document::signed(&run.id, "");
    let mut whole = "All tables and plots are of this run.".to_owned();
    if !older.is_empty() {
        let older = older
            .iter()
            .map(|(id, names)| format!("{} (run {id})", names.join(", ")));
        let older: Vec<String> = older.collect();
        whole = format!("Of other runs, perhaps elsewhere: {}.", older.join("; "));
    }
    let _ = writeln!(
        out,
        "Run {}, begun {}: {}. Load average {} before it, {} after. {}, {}. Peers: {}.\n\n{whole}",
        run.id,
        run.date,
        run.machine,
        run.load,
        run::load(),
        run.versions,
        run.optimisation,
        run.peers
    );
    Ok(out)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let at = path.parent().unwrap_or(path);
    std::fs::create_dir_all(at)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// The document of all tables, and the page with some of their rows.
const RESULTS: &str = "benches/results/README.md";
const PAGE: &str = "docs/BENCHMARKS.md";

/// The document of the rows under loads, and its place.
const UNDER_LOADS: &str = "benches/results/loads.md";
const LOADS_PLACE: &str = "loads";

/// The document of other people's programs.
const PROGRAMS: &str = "benches/results/programs.md";

/// The seconds that a group of rows may take under one load.
const GROUP_SECONDS: u64 = 240;

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(top().join(path)).map_err(|error| format!("{path}: {error}"))
}

/// The checkout.
fn top() -> &'static Path {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().expect("the member lies in the checkout")
}

/// The text of a record of the bench `scaling`.
fn scaling_text(run: &Run, record: &Record) -> String {
    let mut out = document::signed(&run.id, "");
    let notes = record.notes.join(" ");
    let _ = writeln!(out, "{notes} {}\n", circumstances(record));
    out += &scaling::table(&record.rows);
    for plot in scaling::PLOTS {
        let _ = writeln!(out, "\n{}", links::picture(plot.title, plot.id));
    }
    out
}

/// Writes that into its place, or prints it.
fn write_scaling(file: &Path, write_it: bool) -> Result<bool, String> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
    let record = Record::read(&text)?;
    if record.partial || record.quick {
        return Err(format!("{} is not of a whole run", file.display()));
    }
    let text = scaling_text(&Run::begin(top()), &record);
    println!("{text}");
    if write_it {
        let document = read(RESULTS)?;
        let document = document::replace(&document, SCALING, &text)?;
        write(&top().join(RESULTS), &document)?;
        draw_scaling()?;
    }
    Ok(true)
}

/// Draws the table by workers anew, as it is in the document, and writes its verdict into the page.
fn draw_scaling() -> Result<bool, String> {
    let (results, page) = (read(RESULTS)?, read(PAGE)?);
    let at = top().join("docs/plots");
    for plot in scaling::PLOTS {
        let svg = scaling::svg(plot, &results)?;
        write(&at.join(format!("{}.svg", plot.id)), &svg)?;
    }
    write_addresses(&at)?;
    let page = document::replace(&page, SCALING, scaling::verdict_of(&results)?)?;
    write(&top().join(PAGE), &page)?;
    Ok(true)
}

/// Writes the table of these figures of other people's programs, or prints it.
fn write_programs(file: &Path, write_it: bool) -> Result<bool, String> {
    let figures = std::fs::read_to_string(file);
    let figures = figures.map_err(|error| format!("{}: {error}", file.display()))?;
    let run = Run::begin(top());
    let mut text = document::signed(&run.id, "");
    let machine = &run.machine;
    let _ = writeln!(
        text,
        "Run {}, {}: {machine}. {}. Load average after it {}.\n",
        run.id, run.date, run.versions, run.load
    );
    // What is measured keeps its processors busy, and adds no more than one to that.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let is_busy = run
        .load
        .parse()
        .is_ok_and(|load: f64| load > processors as f64 + 1.0);
    text += &programs::table(&figures, is_busy)?;
    let _ = writeln!(text, "\n{}", links::picture(programs::TITLE, programs::ID));
    println!("{text}");
    if write_it {
        let document = document::replace(&read(PROGRAMS)?, programs::ID, &text)?;
        write(&top().join(PROGRAMS), &document)?;
        draw_programs()?;
    }
    Ok(true)
}

/// Draws the table of programs anew, as it is in its document, and writes its verdict into the
/// page.
fn draw_programs() -> Result<bool, String> {
    let (results, page) = (read(PROGRAMS)?, read(PAGE)?);
    let at = top().join("docs/plots");
    let svg = programs::svg(&results)?;
    write(&at.join(format!("{}.svg", programs::ID)), &svg)?;
    write_addresses(&at)?;
    let page = document::replace(&page, programs::ID, programs::verdict_of(&results)?)?;
    write(&top().join(PAGE), &page)?;
    Ok(true)
}

/// For rustdoc, the addresses of the plots that the page shows. Returns the names of all that are
/// there.
fn write_addresses(at: &Path) -> Result<Vec<&'static str>, String> {
    let ids = PLOTS.iter().map(|plot| plot.id);
    let ids = ids.chain(scaling::PLOTS.iter().map(|plot| plot.id));
    let ids = ids.chain([programs::ID]);
    let there = ids.filter_map(|id| {
        let svg = std::fs::read_to_string(at.join(format!("{id}.svg"))).ok()?;
        Some((id, svg))
    });
    let there: Vec<_> = there.collect();
    let page = read(PAGE)?;
    let shown = there
        .iter()
        .filter(|(id, _)| page.contains(&links::name(id)));
    let addresses = links::addresses(shown.map(|(id, svg)| (*id, svg.as_str())));
    write(&at.join("rustdoc.txt"), &addresses)?;
    Ok(there.iter().map(|(id, _)| *id).collect())
}

/// Measures the rows of these tables that are measured under loads, under each; returns whether all
/// were.
fn measure_loads(wanted: &Wanted) -> Result<bool, String> {
    let is_wanted = |bench: &&str| wanted.tables.contains(bench);
    let tables = loads::GROUPS.map(|(bench, _)| bench);
    let tables: Vec<&str> = tables.into_iter().filter(is_wanted).collect();
    let programs = build(top(), &tables)?;
    let folder = records_of_loads()?;
    let mut whole = true;
    for (bench, groups) in loads::GROUPS {
        let Some((_, program)) = programs.iter().find(|(name, _)| name == bench) else {
            continue;
        };
        for &group in groups {
            for (load, _) in LOADS {
                println!("\n=== {bench}, {group}, {load}");
                let record = folder.join(loads::file(bench, group, load));
                let part = ["--only", group, "--load", load];
                let found = measure(program, &record, wanted.quick, GROUP_SECONDS, Some(part));
                if let Err(why) = found {
                    whole = false;
                    println!("\n=== FAILED: {why}");
                }
            }
        }
    }
    Ok(whole)
}

/// Where the records of rows under loads are.
fn records_of_loads() -> Result<PathBuf, String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| top().join("target"));
    let folder = target.join("tables/loads");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    Ok(folder)
}

/// Writes the table of the rows under loads, of the records that are there, and the column of the
/// page; or prints the table.
fn draw_loads(write_it: bool) -> Result<bool, String> {
    let folder = records_of_loads()?;
    let mut records = Vec::new();
    for (bench, groups) in loads::GROUPS {
        for group in groups {
            for (load, _) in LOADS {
                let file = folder.join(loads::file(bench, group, load));
                if let Ok(text) = std::fs::read_to_string(file) {
                    records.push(Record::read(&text)?);
                }
            }
        }
    }
    if write_it && records.iter().any(|record| record.quick) {
        return Err("some records are of a quick run, which is for a look only".to_owned());
    }
    let run = Run::begin(top());
    let mut text = document::signed(&run.id, "");
    let machine = &run.machine;
    let _ = writeln!(
        text,
        "Run {}, {}: {machine}. {}, {}.\n",
        run.id, run.date, run.versions, run.optimisation
    );
    text += &loads::table(&records);
    println!("{text}");
    if write_it {
        let document = document::replace(&read(UNDER_LOADS)?, LOADS_PLACE, &text)?;
        write(&top().join(UNDER_LOADS), &document)?;
        let headline = headline::headline(&read(RESULTS)?, &document)?;
        let page = document::replace(&read(PAGE)?, "headline", &headline)?;
        write(&top().join(PAGE), &page)?;
    }
    Ok(true)
}

fn all(wanted: &Wanted) -> Result<bool, String> {
    if let Some(file) = &wanted.scaling {
        return write_scaling(file, wanted.write);
    }
    if wanted.draw_scaling {
        return draw_scaling();
    }
    if let Some(file) = &wanted.programs {
        return write_programs(file, wanted.write);
    }
    if wanted.draw_programs {
        return draw_programs();
    }
    if wanted.loads || wanted.draw_loads {
        let whole = !wanted.loads || measure_loads(wanted)?;
        return Ok(draw_loads(wanted.write)? && whole);
    }
    let top = top();
    let programs = build(top, &wanted.tables)?;
    // Beside the programs that were built: target/tables.
    let target = programs[0].1.ancestors().nth(3).ok_or("where is target?")?;
    let scratch = target.join("tables");
    std::fs::create_dir_all(&scratch).map_err(|error| error.to_string())?;

    let began = Instant::now();
    let run = Run::begin(top);
    println!(
        "run {}: {}\n{}\npeers: {}\nload average {}",
        run.id, run.machine, run.versions, run.peers, run.load
    );
    let mut measured = Vec::new();
    let mut whole = true;
    for (name, program) in &programs {
        let seconds = TABLES
            .iter()
            .find(|table| table.0 == name)
            .map_or(60, |table| table.1);
        println!("\n=== {name}");
        match measure(
            program,
            &scratch.join(format!("{name}.record")),
            wanted.quick,
            seconds,
            None,
        ) {
            Ok(record) => measured.push((name, record)),
            Err(why) => {
                whole = false;
                println!("\n=== {name}: FAILED: {why}; its table stays as it is");
            }
        }
    }

    let mut document = read(RESULTS)?;
    for (name, record) in &measured {
        document = document::replace(&document, name, &text(&run, name, record))?;
    }
    document = document::replace(&document, "run", &head(&run, &document)?)?;
    for (name, record) in &measured {
        write(
            &scratch.join(format!("{name}.md")),
            &details(&run, name, record),
        )?;
    }
    let (to, results) = match wanted.write {
        true => (top.join("docs"), top.join(RESULTS)),
        false => (scratch.clone(), scratch.join("results.md")),
    };
    let foot = format!("trefoil, run {}, {}; {}", run.id, run.date, run.machine);
    let mut plots = Vec::new();
    for plot in PLOTS {
        let mut rows = Vec::new();
        let found = plot.tables.iter().all(|table| {
            let record = measured.iter().find(|(name, _)| name == table);
            rows.extend(
                record
                    .into_iter()
                    .flat_map(|(_, record)| record.rows.clone()),
            );
            record.is_some()
        });
        if found {
            plots.push((plot.id, plot.svg(&rows, &foot)?));
        }
    }
    let at = to.join("plots");
    for (id, svg) in &plots {
        write(&at.join(format!("{id}.svg")), svg)?;
    }
    // Those of earlier runs, too.
    let files = links::files(write_addresses(&at)?, "../../docs/");
    document = document::replace(&document, "plots", &files)?;
    write(&results, &document)?;
    let headline = headline::headline(&document, &read(UNDER_LOADS)?)?;
    let page = document::replace(&read(PAGE)?, "headline", &headline)?;
    write(&to.join("BENCHMARKS.md"), &page)?;
    println!(
        "\n{} tables and {} plots in {:.0} s, written to {}{}",
        measured.len(),
        plots.len(),
        began.elapsed().as_secs_f64(),
        to.display(),
        if wanted.quick {
            ": a quick run, for a look only"
        } else {
            ""
        }
    );
    Ok(whole)
}

fn main() -> ExitCode {
    let done = wanted(std::env::args().skip(1)).and_then(|wanted| all(&wanted));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            println!("tables: {why}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Result<Wanted, String> {
        wanted(line.split_whitespace().map(str::to_owned))
    }

    fn committed() -> String {
        read(RESULTS).unwrap()
    }

    #[test]
    fn the_page_and_the_readme_say_what_the_tables_say() {
        let (results, page) = (committed(), read(PAGE).unwrap());
        let headline = headline::headline(&results, &read(UNDER_LOADS).unwrap()).unwrap();
        assert_eq!(
            document::replace(&page, "headline", &headline),
            Ok(page.clone())
        );
        let readme = read("README.md").unwrap();
        let readme = readme.split_whitespace().collect::<Vec<_>>().join(" ");
        for work in [
            "one call after the other, two processors",
            "jobs back to back",
            "`map` of 10^5 items of 1 µs",
            "HTTP/1, connections: 64, each request: the server's processor time",
        ] {
            let row = headline.lines().find(|line| line.contains(work));
            let cells: Vec<_> = row.expect(work).split(" | ").collect();
            let peer: Vec<_> = cells[2].rsplitn(3, ' ').collect();
            for figure in [cells[1], &format!("{} {})", peer[1], peer[0])] {
                assert!(readme.contains(figure), "{work}: {figure}");
            }
        }
        let behind = results.split("behind in ").nth(1).unwrap();
        let behind = behind.split(',').next().unwrap();
        assert!(
            readme.contains(&format!("lost to rayon in {behind} of 17 benchmarks")),
            "{behind}"
        );
        let verdict = scaling::verdict_of(&results).unwrap();
        assert_eq!(document::replace(&page, SCALING, verdict), Ok(page.clone()));
        // What a build costs.
        let row = |name: &str| {
            let row = page.lines().find_map(|line| line.strip_prefix(name));
            let cells = row.expect(name).split('|').map(str::trim);
            cells.map(str::to_owned).collect::<Vec<_>>()
        };
        let (whole, threads) = (
            row("| trefoil by default |"),
            row("| trefoil, `threads` alone |"),
        );
        let costs = format!(
            "takes {} s of processor time and compiles {} crates; with `threads` alone {} s and {} (rayon: {} s)",
            whole[0],
            whole[1],
            threads[0],
            threads[1],
            row("| rayon |")[0]
        );
        assert!(readme.contains(&costs), "{costs}");
    }

    #[test]
    fn only_a_whole_run_that_is_asked_to_writes_the_document() {
        assert!(!args("").unwrap().write);
        assert!(!args("threads --bench").unwrap().write);
        assert!(args("--write").unwrap().write);
        assert!(args("--write cell --bench").unwrap().write);
        assert!(!args("--quick --write").unwrap().write);
        assert_eq!(args("--quick").unwrap().tables.len(), TABLES.len());
        assert!(args("treads").is_err());
        assert!(args("--loads threads --write").unwrap().loads);
        assert!(args("--draw-loads").unwrap().draw_loads);
        let scaling = args("--scaling a.record --write").unwrap();
        assert_eq!(scaling.scaling.as_deref(), Some(Path::new("a.record")));
        assert!(args("--scaling").is_err());
        assert!(args("--programs").is_err());
        assert!(args("--programs a --write").unwrap().write);
    }

    #[test]
    fn the_document_has_a_place_for_each_table() {
        let document = committed();
        document::run_of(&read(UNDER_LOADS).unwrap(), LOADS_PLACE).unwrap();
        for name in TABLES
            .map(|table| table.0)
            .into_iter()
            .chain(["run", "plots", SCALING])
        {
            document::run_of(&document, name).unwrap();
        }
    }

    /// What is drawn of whole runs is there, and what the document shows is drawn.
    #[test]
    fn the_document_has_its_plots() {
        let document = committed();
        let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        for (name, _) in TABLES {
            let written = document::run_of(&document, name).unwrap().is_some();
            let begin = document.find(&format!("<!-- begin {name} -->")).unwrap();
            let table = document[begin..].find(table::HEAD).map(|at| begin + at);
            let end = document.find(&format!("<!-- end {name} -->")).unwrap();
            assert_eq!(table.is_some_and(|at| at < end), written, "{name}");
            for plot in PLOTS.iter().filter(|plot| plot.tables == [name]) {
                let file = format!("plots/{}.svg", plot.id);
                let picture = links::picture(plot.title, plot.id);
                assert_eq!(document.contains(&picture), written, "{picture}");
                assert_eq!(
                    document.contains(&links::files([plot.id], "../../docs/")),
                    written,
                    "{file}"
                );
                if written {
                    let svg = std::fs::read_to_string(at.join(&file)).unwrap();
                    roxmltree::Document::parse(&svg).unwrap();
                    let run = document::run_of(&document, name).unwrap().unwrap();
                    assert!(svg.contains(run), "{file} is not of run {run}");
                }
            }
        }
    }

    /// The plots by workers are of the table that is there (`--draw-scaling` draws them again).
    #[test]
    fn the_plots_by_workers_show_what_the_documents_say() {
        let results = committed();
        for plot in scaling::PLOTS {
            let file = format!("docs/plots/{}.svg", plot.id);
            let drawn = scaling::svg(plot, &results).unwrap();
            assert!(
                read(&file).is_ok_and(|there| there == drawn),
                "{file} is another"
            );
            let picture = links::picture(plot.title, plot.id);
            assert!(results.contains(&picture), "{picture}");
        }
    }

    /// So is that of other people's programs (`--draw-programs`).
    #[test]
    fn the_plot_of_programs_shows_what_the_documents_say() {
        let (results, page) = (read(PROGRAMS).unwrap(), read(PAGE).unwrap());
        let drawn = programs::svg(&results).unwrap();
        let file = format!("docs/plots/{}.svg", programs::ID);
        assert!(
            read(&file).is_ok_and(|there| there == drawn),
            "{file} is another"
        );
        let verdict = programs::verdict_of(&results).unwrap();
        let said = document::replace(&page, programs::ID, verdict);
        assert_eq!(said, Ok(page.clone()));
        let picture = links::picture(programs::TITLE, programs::ID);
        assert!(
            results.contains(&picture) && page.contains(&picture),
            "{picture}"
        );
    }

    /// What rustdoc shows of them is in the library's package, which has 1 MB at most.
    #[test]
    fn no_plot_has_bytes_that_nobody_sees() {
        let ids = PLOTS.iter().map(|plot| plot.id);
        let ids = ids.chain(scaling::PLOTS.iter().map(|plot| plot.id));
        for id in ids.chain([programs::ID]) {
            let file = format!("docs/plots/{id}.svg");
            let svg = read(&file).unwrap();
            assert!(
                trefoil_benches::report::draw::slim(&svg) == svg,
                "{file} could be slimmer"
            );
        }
    }

    /// The page has four columns, and the file of details all of them.
    #[test]
    fn details_have_what_the_page_leaves_out() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let run = Run::begin(top);
        let text = "bench\twhole\tfull\t1\t0\t1\nrow\tns\t\tdetail\twork\ngoals\tyes\tahead\n\
                    entry\tours\ttrefoil\t1\t\nentry\tpeer\trayon\t2\t\nentry\tpeer\tsmol\t4\t\nend\n";
        let record = Record::read(text).unwrap();
        let (page, details) = (
            super::text(&run, "cell", &record),
            details(&run, "cell", &record),
        );
        assert!(
            page.contains("1 of 1 rows") && !page.contains("| work | 1.00"),
            "{page}"
        );
        let row =
            "| work | 1.00 ns | rayon 2.00 ns | ×0.50 | smol 4.00 ns ×0.25 |  | ahead | yes |";
        assert!(
            details.contains(row) && details.contains(&run.id),
            "{details}"
        );
    }

    #[test]
    fn a_mixture_of_runs_says_so() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let (mut old, mut new) = (Run::begin(top), Run::begin(top));
        old.id = "old".to_owned();
        new.id = "new".to_owned();
        let record = Record::default();
        let fill = |document: String, run: &Run, tables: &[(&str, u64)]| {
            tables.iter().fold(document, |document, (name, _)| {
                document::replace(&document, name, &text(run, name, &record)).unwrap()
            })
        };
        let document = fill(committed(), &old, &TABLES);
        assert!(
            head(&old, &document)
                .unwrap()
                .contains("All tables and plots are of this run.")
        );
        let document = fill(document, &new, &TABLES[2..3]);
        let head = head(&new, &document).unwrap();
        assert!(
            head.contains("Of other runs, perhaps elsewhere: `cell`, `waiting`"),
            "{head}"
        );
        assert!(!head.contains("`threads`"), "{head}");
    }
}
