//! No circle of files inside a room.
//!
//! A room is a top-level module of the library. Two of its files that import one another, directly
//! or through others, cannot be read, tested or changed separately. A path is followed through the
//! re-exports of a `mod.rs` to the file that it names; code that is compiled only for tests and
//! models does not count.
//!
//! Nor do files form a circle whose methods of one type call one another through `self`: no import
//! shows that, and it is as hard to read. [`METHOD_DEBT`] has those that do.
//!
//! A room in [`LAYERED`] has rooms of its own. These form no circle either; each of them counts as
//! one module, and the files beside them as one more, on top.
//!
//! [`DEBT`] lists the files that are in circles today, so that it can only get shorter: a file in a
//! circle that is not in the list is reported, and so is one in the list that is in no circle any
//! more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::source::{File, Finding};

/// The files that are in a circle.
const DEBT: &[&str] = &[];

/// The files whose methods call one another in a circle. It may only get shorter.
const METHOD_DEBT: &[&str] = &[];

/// Rooms whose own rooms are layers.
const LAYERED: &[&str] = &["process", "thread"];

type Path = Vec<String>;

/// A file of the library as a module.
struct Module<'a> {
    file: &'a File,
    path: Path,
    /// What it imports or names, from the crate's root.
    uses: Vec<Path>,
    /// What it re-exports: a name, and from where.
    exports: Vec<(String, Path)>,
}

/// Files in circles that are not in [`DEBT`], and files in [`DEBT`] that are in no circle.
pub(crate) fn circles(tree: &[File]) -> Vec<Finding> {
    let mut findings = against(tree, DEBT);
    findings.extend(method_circles(tree, METHOD_DEBT));
    findings
}

/// What one file has of a type: its methods, and what they call of the type.
#[derive(Default)]
struct Part {
    methods: BTreeSet<String>,
    calls: BTreeSet<String>,
}

/// Files in circles of methods that are not in `debt`, and files in `debt` that are in none.
fn method_circles(tree: &[File], debt: &[&str]) -> Vec<Finding> {
    // A type, by its room and its name; and its parts, by the number of their file.
    let mut types: BTreeMap<(String, String), BTreeMap<usize, Part>> = BTreeMap::new();
    for (at, file) in tree.iter().enumerate() {
        let in_library = [
            "src/",
            "crates/trefoil-os/src/",
            "crates/postcard-described/src/",
        ];
        let is_ours = in_library.iter().any(|home| file.path.starts_with(home));
        if !is_ours || file.is_for_tests() {
            continue;
        }
        let room: Vec<&str> = file.path.split('/').take(3).collect();
        for (name, body) in impls(&production(file)) {
            let parts = types.entry((room.join("/"), name)).or_default();
            let part = parts.entry(at).or_default();
            part.methods.extend(methods(&body));
            part.calls.extend(calls(&body));
        }
    }
    let mut circles: BTreeMap<usize, String> = BTreeMap::new();
    for ((_, name), parts) in &types {
        let files: Vec<usize> = parts.keys().copied().collect();
        let home = |method: &String| {
            parts
                .values()
                .position(|part| part.methods.contains(method))
        };
        let edges: Vec<BTreeSet<usize>> = parts
            .values()
            .enumerate()
            .map(|(own, part)| {
                let called = part.calls.iter().filter_map(home);
                called.filter(|other| *other != own).collect()
            })
            .collect();
        for (own, at) in files.iter().enumerate() {
            let way = shortest(&edges, own);
            if !way.is_empty() {
                let way: Vec<&str> = way.iter().map(|one| &tree[files[*one]].path[..]).collect();
                let what = format!("methods of `{name}` here call one another by way of ");
                circles.insert(*at, what + &way.join(", "));
            }
        }
    }
    let mut findings = Vec::new();
    for (at, file) in tree.iter().enumerate() {
        let (circle, is_known) = (circles.remove(&at), debt.contains(&file.path.as_str()));
        let what = match circle {
            Some(what) if !is_known => what,
            None if is_known => "is in no circle of methods: take it off the list".to_owned(),
            _ => continue,
        };
        findings.push(Finding::new(file, 0, "circle", what));
    }
    findings
}

/// The types of the `impl` blocks in `text`, and their bodies.
fn impls(text: &str) -> Vec<(String, String)> {
    let (mut found, mut lines) = (Vec::new(), text.lines());
    while let Some(line) = lines.next() {
        if !line.starts_with("impl") || !line[4..].starts_with([' ', '<']) {
            continue;
        }
        let mut head = line[4..].to_owned();
        while !head.contains(['{', ';']) {
            let Some(more) = lines.next() else { break };
            head += more;
        }
        if head.trim_end().ends_with('}') {
            continue; // it is empty
        }
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "}").collect();
        let head = head.split('{').next().unwrap_or_default();
        let head = head.split(" where ").next().unwrap_or_default();
        let subject = head.rsplit(" for ").next().unwrap_or_default();
        // Without the parameters of the block, and those of the type.
        let mut depth = 0;
        let outside = subject.chars().filter(|letter| {
            depth += i32::from(*letter == '<');
            let is_outside = depth == 0;
            depth -= i32::from(*letter == '>');
            is_outside
        });
        let path: String = outside.collect();
        let name = path.trim().rsplit("::").next().unwrap_or_default();
        found.push((name.to_owned(), body.join("\n")));
    }
    found
}

/// The methods that are defined in the body of an `impl`.
fn methods(body: &str) -> Vec<String> {
    let own = body.lines().filter(|line| !line.starts_with("     "));
    let names = own.filter_map(|line| {
        let (before, name) = line.split_once("fn ")?;
        // (Without where it is visible.)
        let before = before.split_once(')').map_or(before, |(_, after)| after);
        let words = before.split_whitespace();
        let is_method = words
            .into_iter()
            .all(|word| word.starts_with("pub") || ["const", "async", "unsafe"].contains(&word));
        is_method.then(|| word_at(name))
    });
    names.collect()
}

/// What is called through `self` in the body of an `impl`.
fn calls(body: &str) -> Vec<String> {
    let called = body.split("self.").skip(1).filter_map(|after| {
        let name = word_at(after);
        after[name.len()..].starts_with('(').then_some(name)
    });
    called.collect()
}

fn word_at(text: &str) -> String {
    let is_part = |letter: &char| *letter == '_' || letter.is_alphanumeric();
    text.chars().take_while(is_part).collect()
}

fn against(tree: &[File], debt: &[&str]) -> Vec<Finding> {
    let modules: Vec<Module<'_>> = tree.iter().filter_map(Module::new).collect();
    let places: BTreeMap<&Path, usize> = modules
        .iter()
        .enumerate()
        .map(|(at, one)| (&one.path, at))
        .collect();
    let edges: Vec<BTreeSet<usize>> = (0..modules.len())
        .map(|from| {
            let uses = modules[from].uses.iter();
            let targets = uses.filter_map(|path| home(&modules, &places, path, 0));
            targets
                .filter(|to| *to != from && modules[*to].path[0] == modules[from].path[0])
                .collect()
        })
        .collect();
    let mut findings = layers(&modules, &edges);
    let edges = without_own_parts(&modules, edges);
    for (at, module) in modules.iter().enumerate() {
        let path = module.file.path.as_str();
        let circle = shortest(&edges, at);
        if circle.is_empty() == debt.contains(&path) {
            let names: Vec<&str> = circle
                .iter()
                .map(|at| modules[*at].file.path.as_str())
                .collect();
            let what = match circle.is_empty() {
                true => "is in no circle any more: take it off the list of debts".to_owned(),
                false => format!("imports itself by way of {}", names.join(", ")),
            };
            findings.push(Finding::new(module.file, 0, "circle", what));
        }
    }
    findings
}

/// A `mod.rs` may define a type whose fields and methods stand in its own parts: then a part that
/// imports the type is no circle by itself.
fn without_own_parts(
    modules: &[Module<'_>],
    mut edges: Vec<BTreeSet<usize>>,
) -> Vec<BTreeSet<usize>> {
    for part in 0..modules.len() {
        let parent = modules[part].path.split_last().map(|(_, parent)| parent);
        let own =
            |door: &usize| modules[*door].is_door() && Some(&modules[*door].path[..]) == parent;
        let door = edges[part].iter().copied().find(own);
        if let Some(door) = door.filter(|door| edges[*door].contains(&part)) {
            edges[part].remove(&door);
        }
    }
    edges
}

/// Circles of the rooms inside of rooms.
fn layers(modules: &[Module<'_>], edges: &[BTreeSet<usize>]) -> Vec<Finding> {
    let rooms: Vec<Option<Path>> = modules.iter().map(Module::room).collect();
    let names: Vec<&Path> = rooms
        .iter()
        .flatten()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let number = |room: &Option<Path>| names.iter().position(|name| Some(*name) == room.as_ref());
    let mut between = vec![BTreeSet::new(); names.len()];
    for (at, targets) in edges.iter().enumerate() {
        let Some(from) = number(&rooms[at]) else {
            continue;
        };
        let targets = targets.iter().filter_map(|to| number(&rooms[*to]));
        between[from].extend(targets.filter(|to| *to != from));
    }
    let circle = |from: &usize| !shortest(&between, *from).is_empty();
    let inside = (0..names.len()).filter(circle).filter_map(|room| {
        let file = modules
            .iter()
            .zip(&rooms)
            .find(|(_, own)| number(own) == Some(room))?
            .0
            .file;
        let way = shortest(&between, room)
            .into_iter()
            .map(|room| names[room].join("::"));
        let way = way.collect::<Vec<_>>().join(", ");
        let what = format!(
            "the room `{}` imports itself by way of {way}",
            names[room].join("::")
        );
        Some(Finding::new(file, 0, "circle", what))
    });
    inside.collect()
}

/// The shortest path from a file back to itself; empty if there is none.
fn shortest(edges: &[BTreeSet<usize>], from: usize) -> Vec<usize> {
    let mut before = BTreeMap::new();
    let mut next = VecDeque::from([from]);
    while let Some(at) = next.pop_front() {
        for to in &edges[at] {
            before.entry(*to).or_insert_with(|| {
                next.push_back(*to);
                at
            });
        }
    }
    let way = std::iter::successors(before.get(&from), |at| {
        Some(&before[*at]).filter(|_| **at != from)
    });
    let mut way: Vec<usize> = way.copied().filter(|at| *at != from).collect();
    way.reverse();
    way
}

/// The file in which the item that `path` names is defined.
fn home(
    modules: &[Module<'_>],
    places: &BTreeMap<&Path, usize>,
    path: &Path,
    depth: usize,
) -> Option<usize> {
    let length = (1..=path.len())
        .rev()
        .find(|length| places.contains_key(&path[..*length].to_vec()))?;
    let at = places[&path[..length].to_vec()];
    let exported = path.get(length).and_then(|name| {
        modules[at]
            .exports
            .iter()
            .find(|(export, _)| export == name)
    });
    match exported {
        Some((_, source)) if depth < 8 => {
            let whole: Path = source.iter().chain(&path[length + 1..]).cloned().collect();
            home(modules, places, &whole, depth + 1)
        }
        // A module's own file does not count as a user of its parts, and a path through it does not
        // count as a use of it.
        _ if path.len() == length && modules[at].is_door() => None,
        _ => Some(at),
    }
}

impl<'a> Module<'a> {
    fn new(file: &'a File) -> Option<Self> {
        let inside = file.inside()?.strip_suffix(".rs")?;
        let inside = inside.strip_suffix("/mod").unwrap_or(inside);
        if inside == "lib" {
            return None;
        }
        let mut module = Self {
            file,
            path: inside.split('/').map(str::to_owned).collect(),
            uses: Vec::new(),
            exports: Vec::new(),
        };
        let text = from_submodules(&production(file));
        if text.trim().is_empty() {
            return None;
        }
        for (leaf, public) in paths(&text) {
            let Some(whole) = module.resolve(&leaf) else {
                continue;
            };
            match (public, whole.last().cloned()) {
                (true, Some(name)) => module.exports.push((leaf.alias.unwrap_or(name), whole)),
                _ => module.uses.push(whole),
            }
        }
        Some(module)
    }

    /// The inner room of a layered room that it is in; a file beside the inner rooms is in the
    /// outer one.
    fn room(&self) -> Option<Path> {
        let length = match self.path.len() {
            1 => return None, // the outer room's own file
            2 if !self.is_door() => 1,
            _ => 2,
        };
        let room = self.path[..length].to_vec();
        LAYERED.contains(&room[0].as_str()).then_some(room)
    }

    /// Whether it is a `mod.rs`, through which its parts are reached.
    fn is_door(&self) -> bool {
        self.file.path.ends_with("/mod.rs")
    }

    /// The path from the root.
    fn resolve(&self, leaf: &Leaf) -> Option<Path> {
        let mut parts = leaf.parts.iter().map(String::as_str).peekable();
        let mut path = match parts.next()? {
            "crate" => Path::new(),
            "self" => self.path.clone(),
            "super" => self.path[..self.path.len() - 1].to_vec(),
            _ => return None,
        };
        while parts.next_if_eq(&"super").is_some() {
            path.pop()?;
        }
        path.extend(parts.map(str::to_owned));
        Some(path)
    }
}

/// The text, in which a `use` that begins with a submodule begins with `self` in its place.
fn from_submodules(text: &str) -> String {
    let declared = |line: &str| {
        let name = line.trim().strip_suffix(';')?;
        Some(name.split_once("mod ")?.1.to_owned())
    };
    let submodules: BTreeSet<String> = text.lines().filter_map(declared).collect();
    let lines = text.lines().map(|line| {
        let begins = line.split_once("use ").and_then(|(_, path)| {
            let end = path.find(|c: char| c != '_' && !c.is_alphanumeric())?;
            Some(submodules.contains(&path[..end]))
        });
        match begins {
            Some(true) => line.replacen("use ", "use self::", 1) + "\n",
            _ => line.to_owned() + "\n",
        }
    });
    lines.collect()
}

/// One path of a `use`, or one in the code.
struct Leaf {
    parts: Vec<String>,
    alias: Option<String>,
}

/// Every path in `text` that begins with `crate`, `super` or `self`, and whether it is re-exported.
fn paths(text: &str) -> Vec<(Leaf, bool)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = ["crate::", "super::", "self::"]
        .iter()
        .filter_map(|root| text[at..].find(root))
        .min()
    {
        let start = at + next;
        let fresh = !text[..start].ends_with(|c: char| c == ':' || c == '_' || c.is_alphanumeric());
        if !fresh {
            at = start + 1;
            continue;
        }
        // In a `use`, `pub` is at the beginning of the statement.
        let statement = text[..start].rfind([';', '}']).map_or(0, |end| end + 1);
        let head = text[statement..start].trim_start();
        let is_use = head.split_whitespace().any(|word| word == "use");
        let public = is_use
            && head
                .split("use")
                .next()
                .is_some_and(|before| before.contains("pub"));
        let (leaves, length) = tree(&text[start..]);
        found.extend(leaves.into_iter().map(|leaf| (leaf, public)));
        at = start + length.max(1);
    }
    found
}

/// The leaves of the tree of paths at the beginning of `text`, and its length.
fn tree(text: &str) -> (Vec<Leaf>, usize) {
    let mut parts = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        if let Some(group) = rest.strip_prefix('{') {
            let (mut leaves, mut inside) = (Vec::new(), 0);
            loop {
                inside += group[inside..].len()
                    - group[inside..].trim_start_matches([' ', '\n', ',']).len();
                if group[inside..].starts_with('}') || group[inside..].is_empty() {
                    break;
                }
                let (inner, length) = tree(&group[inside..]);
                leaves.extend(inner.into_iter().map(|leaf| {
                    let own = parts
                        .iter()
                        .cloned()
                        .chain(leaf.parts.into_iter().filter(|part| part != "self"));
                    Leaf {
                        parts: own.collect(),
                        alias: leaf.alias,
                    }
                }));
                inside += length.max(1);
            }
            return (leaves, at + inside + 2);
        }
        let end = rest
            .find(|c: char| c != '_' && !c.is_alphanumeric())
            .unwrap_or(rest.len());
        if end > 0 {
            parts.push(rest[..end].to_owned());
        }
        at += end;
        match text[at..].strip_prefix("::") {
            Some(after)
                if after.starts_with(|c: char| c == '_' || c == '{' || c.is_alphanumeric()) =>
            {
                at += 2;
            }
            _ => break,
        }
    }
    let alias = text[at..].strip_prefix(" as ").map(|after| {
        let end = after
            .find(|c: char| c != '_' && !c.is_alphanumeric())
            .unwrap_or(after.len());
        after[..end].to_owned()
    });
    (vec![Leaf { parts, alias }], at)
}

/// The code of a file without what is compiled for tests and models only.
fn production(file: &File) -> String {
    let (mut text, mut skipped, mut depth, mut open) = (String::new(), None, 0, false);
    for line in &file.lines {
        let code = line.code.trim();
        let only = [
            "#[cfg(test",
            "#[cfg(loom",
            "#[cfg(all(test",
            "#[cfg(all(loom",
            "#[cfg(any(test",
        ];
        if skipped.is_none() && only.iter().any(|start| code.starts_with(start)) {
            (skipped, open) = (Some(depth), false);
        }
        depth += code.matches('{').count() as i32 - code.matches('}').count() as i32;
        match skipped {
            Some(outside) => {
                open |= code.contains('{');
                if (open && depth <= outside) || (!open && code.ends_with(';')) {
                    skipped = None;
                }
            }
            None => {
                text.push_str(&line.code);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)], debt: &[&str]) -> usize {
        let tree: Vec<File> = files
            .iter()
            .map(|(path, text)| File::new(path, text))
            .collect();
        against(&tree, debt).len()
    }

    #[test]
    fn a_circle_is_reported_and_so_is_a_debt_that_is_paid() {
        let two = [
            ("src/task/a.rs", "use super::b::B;\npub struct A;"),
            ("src/task/b.rs", "fn f() { crate::task::a::A; }"),
            ("src/task/c.rs", "use super::{a::A, b::{self, B}};"),
        ];
        assert_eq!(found(&two, &[]), 2);
        assert_eq!(found(&two, &["src/task/a.rs", "src/task/b.rs"]), 0);
        assert_eq!(
            found(&two, &["src/task/a.rs", "src/task/b.rs", "src/task/c.rs"]),
            1
        );
    }

    #[test]
    fn methods_of_a_type_form_no_circle_of_files() {
        let found = |b: &str, debt: &[&str]| {
            let a = "impl A {\n    pub fn one(&self) {\n        self.two();\n    }\n}";
            let files = [
                File::new("src/task/x/a.rs", a),
                File::new("src/task/x/b.rs", b),
            ];
            method_circles(&files, debt).len()
        };
        let back = "impl<'a, T: B> A<'a, T> {\n    fn two(&self) {\n        self.one();\n    }\n}";
        let down = "impl A {\n    fn two(&self) {\n        self.other();\n    }\n}";
        let other = "impl Clone for B {\n    fn two(&self) {\n        self.one();\n    }\n}";
        assert_eq!(found(back, &[]), 2);
        assert_eq!(found(back, &["src/task/x/a.rs", "src/task/x/b.rs"]), 0);
        assert_eq!((found(down, &[]), found(other, &[])), (0, 0));
        assert_eq!(found(down, &["src/task/x/b.rs"]), 1);
    }

    #[test]
    fn a_name_is_followed_through_the_door_of_the_room() {
        let by_name = [
            (
                "src/task/mod.rs",
                "mod a;\nmod b;\npub use a::A;\npub(crate) use self::b::{B as C};",
            ),
            ("src/task/a.rs", "use super::C;"),
            ("src/task/b.rs", "use crate::task::A;"),
        ];
        assert_eq!(found(&by_name, &[]), 2);
    }

    #[test]
    fn a_submodule_needs_no_root_in_front() {
        let relative = [
            (
                "src/thread/engine/worker/mod.rs",
                "mod wait;\nuse wait::Depth;\npub struct Worker;",
            ),
            (
                "src/thread/engine/worker/wait.rs",
                "use crate::thread::engine::current;",
            ),
            ("src/thread/engine/current.rs", "use super::worker::Worker;"),
        ];
        assert_eq!(found(&relative, &[]), 3);
        let own_part = [
            relative[0],
            ("src/thread/engine/worker/wait.rs", "use super::Worker;"),
        ];
        assert_eq!(found(&own_part, &[]), 0);
    }

    #[test]
    fn rooms_inside_of_a_layered_room_point_down() {
        let down = [
            ("src/process/a/x.rs", "use crate::process::b::y::Y;"),
            ("src/process/b/y.rs", "pub struct Y;"),
            ("src/process/top.rs", "use super::a::x::X;"),
        ];
        assert_eq!(found(&down, &[]), 0);
        let up = [
            ("src/process/a/x.rs", "use crate::process::b::y::Y;"),
            ("src/process/b/y.rs", "pub struct Y;"),
            ("src/process/b/z.rs", "use crate::process::a::w::W;"),
            ("src/process/a/w.rs", "pub struct W;"),
        ];
        assert_eq!(found(&up, &[]), 2);
        let back = [
            ("src/process/a/x.rs", "use crate::process::top::T;"),
            ("src/process/top.rs", "use super::a::w::W;\npub struct T;"),
            ("src/process/a/w.rs", "pub struct W;"),
        ];
        assert_eq!(found(&back, &[]), 2);
    }

    #[test]
    fn tests_and_other_rooms_do_not_count() {
        let apart = [
            (
                "src/task/a.rs",
                "use super::b::B;\n#[cfg(test)]\nmod tests {\n use super::*;\n}",
            ),
            (
                "src/task/b.rs",
                "#[cfg(test)]\nmod tests {\n use crate::task::a::A;\n}",
            ),
        ];
        assert_eq!(found(&apart, &[]), 0);
    }
}
