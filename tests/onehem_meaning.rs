//! That a hook of the profile `onehem` is started as `onehem-server` starts it: each is run by real Ruby, with the call that
//! `onehem-server` makes, and by the daemon, for the same event, and what the two saw is compared.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod daemon;
mod oned_stand_in;
mod peers;
mod recorded;
mod ruby;

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::House;
use oned_stand_in::Oned;
use serde_json::{Map, Value, json};

/// One hook as OpenNebula knows it, without its trigger.
#[derive(Default, Clone, Copy)]
struct Given<'a> {
    command: &'a str,
    arguments: &'a str,
    stdin: bool,
    timeout: u64,
}

impl Given<'_> {
    fn file(&self, number: usize, trigger: &str) -> String {
        let mut file = format!(
            "name: hook-{number}\nid: {number}\nprofile: onehem\ntrigger: {trigger}\ncommand: {}\narguments: {}\n",
            Value::from(self.command),
            Value::from(self.arguments),
        );
        if self.stdin {
            file.push_str("arguments_stdin: true\n");
        }
        if self.timeout > 0 {
            file.push_str(&format!("timeout: {}s\n", self.timeout));
        }
        file
    }
}

/// What became of a hook: what its process said, and what the controller is told of it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    code: i64,
    command: String,
    arguments: String,
    stdout: String,
    stderr: String,
}

fn decoded(text: &str) -> String {
    let bytes = STANDARD.decode(text.replace('\n', "")).expect("base64");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An element's text.
fn element(document: &str, name: &str) -> String {
    let (_, rest) = document.split_once(&format!("<{name}>")).expect(name);
    let text = rest.split_once(&format!("</{name}>")).expect(name).0;
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

/// What Ruby sees.
fn by_ruby(document: &str, folder: &Path, hooks: &[Given]) -> Vec<Seen> {
    let hooks: Vec<Value> = hooks
        .iter()
        .map(|hook| {
            json!({ "command": hook.command, "arguments": hook.arguments, "stdin": hook.stdin,
                    "timeout": hook.timeout })
        })
        .collect();
    let order = json!({ "document": document, "folder": folder, "hooks": hooks });
    let answer: Value =
        serde_json::from_str(&ruby::run("tests/peers/open3.rb", &order.to_string())).expect("JSON");
    let text = |seen: &Value, name: &str| seen[name].as_str().expect("a text").to_owned();
    answer
        .as_array()
        .expect("a list")
        .iter()
        .map(|seen| Seen {
            code: seen["code"].as_i64().expect("a number"),
            command: text(seen, "command"),
            arguments: text(seen, "arguments"),
            stdout: decoded(&text(seen, "stdout")),
            stderr: decoded(&text(seen, "stderr")),
        })
        .collect()
}

/// What the daemon tells the controller, for the event that `order` has it publish; and that event.
async fn by_hem(house: &mut House, hooks: &[Given<'_>], trigger: &str, order: Value) -> (Vec<Seen>, String) {
    let mut oned = Oned::start(&[]);
    house.serve(oned.events(), oned.replies());
    for (index, hook) in hooks.iter().enumerate() {
        house.hook(&format!("hook-{}", index + 1), &hook.file(index + 1, trigger));
    }
    let daemon = house.daemon().await;
    oned.wait_for_subscriber();
    oned.tell(order);
    let mut seen = BTreeMap::new();
    for result in oned.results(hooks.len()) {
        assert_eq!(result["kept"], true, "{result}");
        let document = result["document"].as_str().expect("a document");
        seen.insert(
            result["hook"].as_u64().expect("a number"),
            Seen {
                code: result["rc"].as_i64().expect("a number"),
                command: element(document, "COMMAND"),
                arguments: element(document, "ARGUMENTS"),
                stdout: decoded(&element(document, "STDOUT")),
                stderr: decoded(&element(document, "STDERR")),
            },
        );
    }
    daemon.stop().await;
    let published = oned.tell(json!({ "do": "published" }));
    let document = published["documents"][0].as_str().expect("a document").to_owned();
    assert_eq!(seen.len(), hooks.len(), "one result of each");
    (seen.into_values().collect(), document)
}

const RUNNING: &str = "{ state: { resource: VM, on: RUNNING } }";

fn a_vm_runs() -> Value {
    json!({ "do": "vm", "id": 12, "user_template": { "NOTE": "a <b> & \"c\"" } })
}

/// How the start of a hook differs on purpose: what hem says about the execution. Nothing else does.
const OWN_VARIABLES: &[&str] = &[
    "HEM_ATTEMPT",
    "HEM_EVENT_ID",
    "HEM_EVENT_KEY",
    "HEM_EXECUTION_ID",
    "HEM_HOOK",
    "HEM_INSTANCE",
    "HEM_SOURCE",
    "HEM_SUBJECT",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_is_given_what_ruby_gives_it_at_its_start() {
    let mut house = House::new();
    let dump = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dumps-how-it-started");
    std::os::unix::fs::symlink(&dump, house.config.scripts_dir.join("dump")).expect("a link");
    let folder = house.config.scripts_dir.clone();
    let hooks = [
        Given {
            command: "dump",
            arguments: "$TEMPLATE a  b",
            ..Given::default()
        },
        Given {
            command: "dump first",
            arguments: "$TEMPLATE second",
            stdin: true,
            ..Given::default()
        },
        Given {
            command: "dump",
            arguments: "'through a' shell",
            ..Given::default()
        },
    ];
    let (hem, document) = by_hem(&mut house, &hooks, RUNNING, a_vm_runs()).await;
    let ruby = by_ruby(&document, &folder, &hooks);
    for (hem, ruby) in hem.iter().zip(&ruby) {
        assert_eq!((hem.code, hem.stderr.as_str()), (0, ""));
        let [mut by_hem, by_ruby] = [hem, ruby]
            .map(|seen| -> Map<String, Value> { serde_json::from_str(&seen.stdout).expect("a dump") });
        let theirs = by_ruby["environment"].as_object().expect("variables");
        let variables = by_hem["environment"].as_object_mut().expect("variables");
        let own: Vec<String> = variables
            .keys()
            .filter(|name| !theirs.contains_key(*name))
            .cloned()
            .collect();
        assert_eq!(own, OWN_VARIABLES);
        variables.retain(|name, _| theirs.contains_key(name));
        for (what, given) in by_ruby {
            assert_eq!(by_hem.remove(&what), Some(given), "{what}");
        }
        assert_eq!(hem.command, ruby.command);
        assert_eq!(hem.arguments, ruby.arguments);
    }
}

const SAY: &str = "#!/bin/sh\nfor word; do echo \"[$word]\"; done\ncat\n";

/// How the end of a hook is told differently on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Difference {
    /// None.
    None,
    /// The shell that complains is called by its path.
    NamesTheShell,
    /// A process that a signal ended is said to be that; Ruby says nothing but 255.
    SaysTheSignal,
    /// What stood in the way of the start is said in more words than the system's.
    SaysWhatIsWrong,
    /// What was written until the time was over is kept; Ruby's readers lose it.
    KeepsOutput,
}

impl Difference {
    /// What hem tells, without the difference that there must be.
    fn undone(self, hem: &Seen, ruby: &Seen) -> Seen {
        let mut seen = Seen {
            code: hem.code,
            command: hem.command.clone(),
            arguments: hem.arguments.clone(),
            stdout: hem.stdout.clone(),
            stderr: hem.stderr.clone(),
        };
        let expected = match self {
            Self::None => true,
            Self::NamesTheShell => {
                seen.stderr = hem.stderr.replace("/bin/sh: ", "sh: ");
                seen.stderr != hem.stderr
            }
            Self::SaysTheSignal => {
                seen.stderr = ruby.stderr.clone();
                hem.stderr == "Internal error ended by signal 9"
            }
            Self::SaysWhatIsWrong => {
                seen.stderr = ruby.stderr.clone();
                hem.stderr.starts_with("Internal error ") && ruby.stderr.starts_with("Internal error ")
            }
            Self::KeepsOutput => {
                seen.stdout = ruby.stdout.clone();
                !hem.stdout.is_empty() && ruby.stdout.is_empty()
            }
        };
        assert!(expected, "no {self:?}: {hem:?} {ruby:?}");
        seen
    }
}

fn compare(lines: &[(Given<'_>, Difference)], hem: &[Seen], ruby: &[Seen]) {
    let mut differences = Vec::new();
    for (((given, difference), hem), ruby) in lines.iter().zip(hem).zip(ruby) {
        if difference.undone(hem, ruby) != *ruby {
            differences.push(format!(
                "{:?} {:?}\n  hem  {hem:?}\n  ruby {ruby:?}",
                given.command, given.arguments
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_lines_come_to_the_same_end_as_with_ruby() {
    use Difference::{NamesTheShell, None, SaysTheSignal, SaysWhatIsWrong};
    let mut house = House::new();
    house
        .script("say.sh", SAY)
        .script("no-shebang", "echo none \"$@\"\n")
        .script("fails.sh", "#!/bin/sh\necho out\necho err >&2\nexit 7\n")
        .script("killed.sh", "#!/bin/sh\necho out\nkill -9 $$\n")
        .script("no-interpreter", "#!/nowhere/at/all\n")
        .script("a;b.sh", SAY);
    std::fs::write(house.config.scripts_dir.join("plain.txt"), "echo no\n").expect("a file");
    std::fs::create_dir(house.config.scripts_dir.join("folder")).expect("a folder");
    let redirected = house.path("redirected").display().to_string();
    let redirecting = format!("x > {redirected}; cat {redirected}");
    let lines: Vec<(Given, Difference)> = [
        // Words, and the two that stand for something, which nothing else does.
        ("say.sh", "", None),
        ("say.sh", "one two", None),
        ("say.sh", "  many   blanks  ", None),
        ("say.sh", "$TEMPLATE", None),
        ("say.sh", "$TEMPLATE $TEMPLATE x", None),
        ("say.sh", "a $API b", None),
        ("say.sh", "--template=$TEMPLATE", None),
        ("say.sh", "$TEMPLATES $APIS", None),
        ("say.sh", "$API first", None),
        ("say.sh", "last $API", None),
        ("say.sh", "ünïcode 東京", None),
        ("say.sh", "a=b 100% =c", None),
        ("say.sh in the command", "and arguments", None),
        ("say.sh  two  blanks", "x", None),
        ("/bin/echo", "absolute", None),
        ("/bin/echo absolute", "-n $TEMPLATE", None),
        // What Ruby gives to a shell.
        ("say.sh", "'one word' two", None),
        ("say.sh", "\"one word\" 'and \"quotes\"' back\\ slash", None),
        ("say.sh", "x ; echo more", None),
        ("say.sh", "$(echo $((6 * 7)))", None),
        ("say.sh", "`echo back` $HOME", None),
        ("say.sh", "# not a word", None),
        ("say.sh", "~ *.nothing ?", None),
        ("say.sh", redirecting.as_str(), None),
        ("say.sh", "a && echo and || echo or", None),
        ("say.sh 'in the' command", "and arguments", None),
        ("say.sh", "unfinished 'quote", NamesTheShell),
        ("a;b.sh", "x", NamesTheShell),
        ("missing.sh", "'x'", NamesTheShell),
        // How it ends.
        ("fails.sh", "$TEMPLATE", None),
        ("fails.sh ; true", "", None),
        ("killed.sh", "", SaysTheSignal),
        ("killed.sh ;", "", None),
        // What cannot be run, or only by a shell.
        ("no-shebang", "x y", None),
        ("no-shebang", "x 'y z'", None),
        ("missing.sh", "x", SaysWhatIsWrong),
        ("/nowhere/missing", "", SaysWhatIsWrong),
        ("plain.txt", "", SaysWhatIsWrong),
        ("folder", "", SaysWhatIsWrong),
        ("no-interpreter", "", SaysWhatIsWrong),
    ]
    .into_iter()
    .map(|(command, arguments, difference)| {
        let given = Given {
            command,
            arguments,
            ..Given::default()
        };
        (given, difference)
    })
    .collect();
    let hooks: Vec<Given> = lines.iter().map(|(given, _)| *given).collect();
    let folder = house.config.scripts_dir.clone();
    let (hem, document) = by_hem(&mut house, &hooks, RUNNING, a_vm_runs()).await;
    let ruby = by_ruby(&document, &folder, &hooks);
    compare(&lines, &hem, &ruby);
}

/// An API event whose parameters hold what XML reserves, so that libxml2 has something to mend.
fn a_vm_is_deployed(result: bool) -> Value {
    json!({ "do": "api", "call": "one.vm.deploy", "result": result, "in": ["12", "0", "<A>&amp;x</A>"],
            "out": "12", "extra": "<VM><ID>12</ID><N><![CDATA[a <b> & c]]></N><E></E></VM>" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_on_standard_input_are_joined_by_one_blank_and_end_without_a_newline() {
    let lines = ["$API -m  -p 5", "'a  b' $API", "", "no element", "$TEMPLATE x"].map(|arguments| {
        let given = Given {
            command: "say.sh its 'own words'",
            arguments,
            stdin: true,
            ..Given::default()
        };
        (given, Difference::None)
    });
    let hooks: Vec<Given> = lines.iter().map(|(given, _)| *given).collect();
    // Calls that failed run hooks too.
    for result in [true, false] {
        let mut house = House::new();
        house.script("say.sh", SAY);
        let folder = house.config.scripts_dir.clone();
        let trigger = "{ api: { call: one.vm.deploy, result: any } }";
        let (hem, document) = by_hem(&mut house, &hooks, trigger, a_vm_is_deployed(result)).await;
        assert!(document.contains(&format!("<RESULT>{}</RESULT>", u8::from(result))));
        assert!(hem[0].stdout.ends_with(" -m -p 5"), "{:?}", hem[0]);
        let ruby = by_ruby(&document, &folder, &hooks);
        compare(&lines, &hem, &ruby);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_whose_time_is_over_is_told_with_the_same_words() {
    let mut house = House::new();
    house.script("slow.sh", "#!/bin/sh\necho before\nexec sleep 600\n");
    let folder = house.config.scripts_dir.clone();
    let given = Given {
        command: "slow.sh",
        arguments: "a $TEMPLATE",
        timeout: 1,
        ..Given::default()
    };
    let lines = [(given, Difference::KeepsOutput)];
    let (hem, document) = by_hem(&mut house, &[given], RUNNING, a_vm_runs()).await;
    assert_eq!(hem[0].code, 255);
    assert!(hem[0].stderr.starts_with("Timeout executing "), "{:?}", hem[0]);
    compare(&lines, &hem, &by_ruby(&document, &folder, &[given]));
}
