//! The reference page of the command line, made from the definitions that parse it.

mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use clap::CommandFactory as _;

    use crate::cli::Cli;
    use crate::cli::exit::EXIT_CODES;
    use crate::config::TAKES_EFFECT_AT_ONCE;
    use crate::config::raw::RawConfig;

    const HOW: &str = "HEM_UPDATE_DOCS=1 cargo test --lib reference";

    /// Compares a checked-in file with what it should be; writes it when `HEM_UPDATE_DOCS` is set.
    fn compare(file: &str, expected: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        if std::env::var_os("HEM_UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("its folder is there");
            std::fs::write(&path, expected).expect("it is written");
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == expected, "{file} is out of date; run: {HOW}");
    }

    #[test]
    fn the_command_line_reference_is_up_to_date() {
        let mut hem = Cli::command().term_width(100);
        hem.build();
        let mut page = format!(
            "# The command line\n\nMade from the program's own definitions; `{HOW}` makes it anew.\n\n\
             ```text\n{}```\n\n```text\n{EXIT_CODES}\n```\n",
            hem.render_help()
        );
        let mut subcommands: Vec<_> = hem.get_subcommands().cloned().collect();
        for command in &mut subcommands {
            let help = command.render_long_help();
            let _ = write!(page, "\n## hem {}\n\n```text\n{help}```\n", command.get_name());
        }
        let page: String = page
            .lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect();
        compare("docs/cli/reference.md", &page);
    }

    #[test]
    fn the_schema_of_the_configuration_is_up_to_date() {
        let mut text = serde_json::to_string_pretty(&schemars::schema_for!(RawConfig)).expect("JSON");
        text.push('\n');
        compare("docs/schema/config.schema.json", &text);
    }

    #[test]
    fn the_document_of_the_control_api_is_up_to_date() {
        let document = crate::control::openapi::document();
        let mut text = serde_json::to_string_pretty(&document).expect("JSON");
        text.push('\n');
        compare("docs/schema/openapi.json", &text);
    }

    #[test]
    fn the_configuration_manual_is_up_to_date() {
        let schema = serde_json::to_value(schemars::schema_for!(RawConfig)).expect("JSON");
        let mut page = format!(
            "# Configuration\n\n\
             hem reads the file named by `--config`, else by `HEM_CONFIG`, else `/etc/hem/hem.yaml`; without any, the \
             defaults below hold.\n`docs/schema/config.schema.json` is the same for editors (`hem schema config`). This page \
             is made from the program's own\ndefinitions; `{HOW}` makes it anew.\n\n\
             Durations are a number and a unit (`250ms`, `30s`, `10m`, `2h`, `30d`), sizes likewise (`64KiB`, `256MiB`, \
             `2GiB`).\nUnknown settings are refused.\n\nA running daemon takes up the settings marked *at once* when it is told to \
             read its configuration again (`hem reload`,\n`systemctl reload hem`, SIGHUP); the others wait for its next start, and \
             it names those that changed. A configuration\nwith a fault is refused as a whole, and the former one stays in force.\n\n`hem run --onehem-conf FILE` takes the \
             configuration of OpenNebula's onehem-server besides: `:debug_level` (`log`), `:hook_base_path`\n(`onehem_scripts_dir`), \
             `:remote_hook_base_path` (`remote_scripts_dir`), `:subscriber_endpoint` and `:replier_endpoint` (`endpoint` and\n`replies` \
             of the source) and `:concurrency`; it also turns `oned: {{}}` on. What the command line says goes before it, and it goes \
             before\nthis file: it was named on purpose, and this file may be the one that a package installed. `hem import \
             --onehem-conf FILE` makes a\n`hem.yaml` of it once and for all.\n\n```yaml\nhooks_dir: /etc/hem/hooks.d\nconcurrency: 20\n\
             control: {{ socket_mode: \"0660\", socket_group: oneadmin }}\nsources:\n  opennebula: {{ type: opennebula, \
             endpoint: \"tcp://127.0.0.1:2101\" }}\nretention: {{ age: 14d, bytes: 4GiB }}\n```\n\n## hem.yaml\n\n"
        );
        settings(&mut page, &schema, &TAKES_EFFECT_AT_ONCE);
        let definitions = schema["$defs"].as_object().expect("definitions");
        let titles = [
            ("RawOned", "oned"),
            ("RawControl", "control"),
            ("RawTokenFile", "control: { tokens: [ … ] }"),
            ("RawSsh", "ssh"),
            ("RawOpennebula", "sources: { NAME: { type: opennebula } }"),
            ("RawQueue", "sources: { NAME: { type: opennebula, queue } }"),
            ("RawWebhook", "sources: { NAME: { type: webhook } }"),
            ("RawTls", "tls, wherever hem listens"),
            ("RawHttpLimits", "limits, wherever hem listens"),
            ("RawEndpoint", "endpoints: { NAME: … }"),
            ("RawSignature", "endpoints: { NAME: { signature } }"),
            ("RawToken", "endpoints: { NAME: { token } }"),
            ("RawEsc", "sources: { NAME: { type: esc } }"),
            ("RawCallbacks", "sources: { NAME: { type: esc, callbacks } }"),
            ("RawCallbackToken", "callbacks: { token }"),
            ("RawNetconf", "sources: { NAME: { type: esc, netconf } }"),
            ("RawSecret", "secrets: [ … ]"),
            ("RawDelivery", "endpoints: { NAME: { delivery } }"),
            ("RawMasakari", "sources: { NAME: { type: masakari } }"),
            ("RawHttpBasic", "auth: { http_basic }"),
            ("RawSharedToken", "auth: { token }"),
            ("RawKeystoneAuth", "auth: { keystone }"),
            ("RawKeystoneUser", "keystone: { user }"),
            ("RawSegment", "segments: { NAME: … }"),
            ("RawHost", "hosts: { NAME: … }"),
            ("RawPoll", "sources: { NAME: { type: masakari, poll } }"),
            ("RawPollUser", "poll: { auth: { http_basic } }"),
            ("RawKeystone", "poll: { auth: { keystone } }"),
            ("RawNcmp", "sources: { NAME: { type: ncmp } }"),
            ("RawKafkaTls", "sources: { NAME: { type: ncmp, tls } }"),
            ("RawSasl", "sources: { NAME: { type: ncmp, sasl } }"),
            ("RawRetention", "retention"),
            ("RawLimits", "limits"),
        ];
        let values = [
            ("RawOnedHooks", "oned: { hooks }"),
            ("RawOnehemShell", "oned: { shell }"),
            ("RawRole", "role"),
            ("RawReload", "reload"),
            ("RawPermissions", "permissions"),
            ("RawDamagedStore", "on_damaged_store"),
            ("RawValidate", "validate"),
            ("RawBody", "body"),
            ("RawRespond", "respond"),
            ("RawAlgorithm", "algorithm"),
            ("RawEncoding", "encoding"),
            ("RawMasakariAuth", "auth"),
            ("RawPollAuth", "poll: { auth }"),
            ("RawPollStart", "poll: { start }"),
            ("RawKafkaStart", "start, of a source of type ncmp"),
            ("RawSaslMechanism", "sasl: { mechanism }"),
            ("RawSshAlgorithms", "netconf: { ssh_algorithms }"),
            ("RawNetconfStart", "netconf: { start }"),
            ("RawMaintenance", "maintenance"),
            ("RawRecoveryMethod", "recovery_method"),
        ];
        let has_a_section = |name: &str| {
            let mut sections = titles.iter().chain(&values);
            sections.any(|(section, _)| *section == name)
        };
        for (name, definition) in definitions {
            let is_of_settings = definition["properties"].is_object();
            let is_of_values = definition["oneOf"][0]["const"].is_string();
            assert!(
                !(is_of_settings || is_of_values) || has_a_section(name),
                "the page has no section for `{name}`"
            );
        }
        for (name, title) in titles {
            let definition = &definitions[name];
            let about = definition["description"].as_str().unwrap_or_default();
            let _ = write!(page, "\n## {title}\n\n{about}\n\n");
            settings(&mut page, definition, &[]);
        }
        for (name, title) in values {
            let _ = write!(page, "\n## Values of `{title}`\n\n");
            for value in definitions[name]["oneOf"].as_array().expect("its values") {
                // A value with settings of its own is a mapping of one key.
                let with_settings = || value["required"][0].as_str();
                let _ = writeln!(
                    page,
                    "- `{}`: {}",
                    value["const"].as_str().or_else(with_settings).expect("a value"),
                    value["description"]
                        .as_str()
                        .expect("what it means")
                        .replace('\n', " ")
                );
            }
        }
        compare("docs/configuration.md", &page);
    }

    /// The settings of one mapping, each with what its doc comment says.
    fn settings(page: &mut String, schema: &serde_json::Value, taken_up: &[&str]) {
        for (name, setting) in schema["properties"].as_object().expect("properties") {
            let about = setting["description"]
                .as_str()
                .expect("every setting says what it is for");
            let at_once = taken_up.contains(&name.as_str());
            let mark = if at_once { " (*at once*)" } else { "" };
            let _ = writeln!(page, "- `{name}`{mark}: {}", about.replace('\n', " "));
        }
    }
}
