//! The documents that `--json` prints and `--manifest` writes: the committed schemas are the tool's own, and real documents
//! follow them.

mod common;

use common::Bench;
use serde_json::Value;
use std::fs;

const SCHEMA: &str = include_str!("../schema/dax-mkfs.v1.json");
const MANIFEST_SCHEMA: &str = include_str!("../schema/dax-mkfs-manifest.v1.json");

#[test]
fn the_committed_schemas_are_current() {
    for (option, committed, file) in
        [("--schema", SCHEMA, "dax-mkfs.v1.json"), ("--manifest-schema", MANIFEST_SCHEMA, "dax-mkfs-manifest.v1.json")]
    {
        assert!(
            Bench::new().ok(&[option]).stdout == committed,
            "tools/mkfs/schema/{file} is old: `dax-mkfs {option}` prints the new one. Fields may be added; whoever renames or \
             removes one raises SCHEMA_VERSION"
        );
    }
}

#[test]
fn documents_follow_the_schema() {
    let bench = Bench::new();
    fs::create_dir(bench.path("src")).unwrap();
    fs::write(bench.path("src/large"), vec![1; 3 << 20]).unwrap();
    fs::write(bench.path("recipe.toml"), RECIPE).unwrap();
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    for (args, action) in [
        (&["--json", "-n", "image", "9M"][..], "planned"),
        (&["--json", "-d", "src", "--dax", "/", "image", "32M"], "created"),
        (&["--json", "-F", "-O", "inline_data", "image"], "overwritten"),
        (&["--json", "-n", "-b", "1024", "-t", "ext2", "huge", "1T"], "planned"),
        (&["--json", "-O", "journal_dev", "journal", "8M"], "created"),
        (&["--json", "-J", "device=journal", "other", "8M"], "created"),
        (&["--json", "-d", "src", "-g", "/large", "auto"], "created"),
        (&["--json", "--recipe", "recipe.toml", "wrong", "16M"], "created"),
    ] {
        let run = bench.ok(args);
        let document: Value = serde_json::from_str(&run.stdout).expect("JSON");
        let mut wrong = Vec::new();
        check(&schema, &schema, &document, "", &mut wrong);
        assert!(wrong.is_empty(), "{args:?}: {}", wrong.join("\n"));
        assert_eq!(document["schema_version"], 1);
        assert_eq!(document["target"]["action"], action, "{args:?}");
        assert_eq!(document["result"].is_object(), action != "planned" && !args.contains(&"journal_dev"), "{args:?}");
        // What there is nothing to say of is left out.
        assert_eq!(document.get("block_maps").is_some(), args.contains(&"-g"), "{args:?}");
        assert_eq!(document.get("defects").is_some(), args.contains(&"--recipe"), "{args:?}");
    }
    // The plan is the one that is written.
    let plan =
        |args: &[&str]| -> Value { serde_json::from_str::<Value>(&bench.ok(args).stdout).unwrap()["plan"].clone() };
    let dry = plan(&["--json", "-n", "-d", "src", "second", "32M"]);
    assert_eq!(dry, plan(&["--json", "-d", "src", "second", "32M"]));
    assert_eq!(dry["content"]["pmd"]["share"], 1.0);
}

/// One of everything a manifest can speak of.
const RECIPE: &str = r#"
version = 1
[[file]]
path = "/large"
size = "5M"
pattern = "random"
unwritten = ["4M..5M"]
dax = true
xattrs = { "user.a" = { hex = "00ff" } }
[[file]]
path = { bytes = "2f61ff0a" }
text = "odd"
[[dir]]
path = "/dir"
entries = { count = 3, prefix = "e" }
[[symlink]]
path = "/symlink"
target = "large"
[[link]]
path = "/link"
target = "/large"
[[node]]
path = "/device"
type = "block"
device = "259:70000"
[[node]]
path = "/fifo"
type = "fifo"
[[node]]
path = "/socket"
type = "socket"
[[defect]]
place = "inode:2.i_generation"
set = 7
"#;

#[test]
fn manifests_follow_the_schema() {
    let bench = Bench::new();
    let schema: Value = serde_json::from_str(MANIFEST_SCHEMA).unwrap();
    fs::write(bench.path("recipe.toml"), RECIPE).unwrap();
    for args in [
        &["image", "32M"][..],
        &["--recipe", "recipe.toml", "image"],
        &["--recipe", "recipe.toml", "-b", "1024", "-O", "inline_data", "-E", "offset=2097152", "image", "32M"],
    ] {
        let _ = fs::remove_file(bench.path("image"));
        let mut all = vec!["-q", "--manifest", "manifest.json"];
        all.extend(args);
        bench.ok(&all);
        let text = fs::read_to_string(bench.path("manifest.json")).expect("a manifest, over the one before");
        let document: Value = serde_json::from_str(&text).expect("JSON");
        let mut wrong = Vec::new();
        check(&schema, &schema, &document, "", &mut wrong);
        assert!(wrong.is_empty(), "{args:?}: {}", wrong.join("\n"));
        let types = |name: &str| document["entries"].as_array().unwrap().iter().filter(|e| e["type"] == name).count();
        if args.contains(&"--recipe") {
            assert_eq!(document["defects"].as_array().map(Vec::len), Some(1));
            let found = ["file", "directory", "symlink", "char", "block", "fifo", "socket"].map(types);
            // Two names of the large file, one odd, three made by rule; root and one directory.
            assert_eq!(found, [6, 2, 1, 0, 1, 1, 1], "{text}");
        }
    }
    assert_eq!(bench.names(), ["image", "manifest.json", "recipe.toml"]);
}

#[test]
fn the_checker_finds_mistakes() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let run = Bench::new().ok(&["--json", "-n", "image", "8M"]);
    let good: Value = serde_json::from_str(&run.stdout).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut document = good.clone();
        change(&mut document);
        let mut wrong = Vec::new();
        check(&schema, &schema, &document, "", &mut wrong);
        wrong
    };
    assert!(with(&|_| {}).is_empty());
    assert_eq!(with(&|d| d["schema_version"] = "1".into()).len(), 1);
    assert_eq!(with(&|d| d["target"]["action"] = "burnt".into()).len(), 1);
    assert_eq!(with(&|d| d["plan"]["blocks"] = (-1).into()).len(), 1);
    assert_eq!(
        with(&|d| {
            d.as_object_mut().unwrap().remove("target");
        })
        .len(),
        1
    );
}

/// As much of JSON Schema as schemars uses for plain structures.
fn check(root: &Value, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    let Some(schema) = schema.as_object() else { return };
    for (keyword, rule) in schema {
        match keyword.as_str() {
            "$ref" => {
                let name = rule.as_str().and_then(|r| r.strip_prefix("#/$defs/")).expect("a local reference");
                check(root, &root["$defs"][name], value, at, wrong);
            }
            "type" => {
                let types: Vec<&str> = rule.as_array().map_or_else(
                    || vec![rule.as_str().expect("a type")],
                    |list| list.iter().filter_map(Value::as_str).collect(),
                );
                if !types.iter().any(|t| is_type(t, value)) {
                    wrong.push(format!("{at}: {value} is not {types:?}"));
                }
            }
            "enum" => {
                if !rule.as_array().expect("a list").contains(value) {
                    wrong.push(format!("{at}: {value} is not one of {rule}"));
                }
            }
            "const" => {
                if rule != value {
                    wrong.push(format!("{at}: {value} is not {rule}"));
                }
            }
            "anyOf" | "oneOf" => {
                let fits = |one: &Value| {
                    let mut wrong = Vec::new();
                    check(root, one, value, at, &mut wrong);
                    wrong.is_empty()
                };
                if !rule.as_array().expect("a list").iter().any(fits) {
                    wrong.push(format!("{at}: {value} fits none of the alternatives"));
                }
            }
            "minimum" => {
                if value.as_f64().is_some_and(|v| v < rule.as_f64().expect("a number")) {
                    wrong.push(format!("{at}: {value} is below {rule}"));
                }
            }
            "maximum" => {
                if value.as_f64().is_some_and(|v| v > rule.as_f64().expect("a number")) {
                    wrong.push(format!("{at}: {value} is above {rule}"));
                }
            }
            "required" => {
                for name in rule.as_array().expect("a list").iter().filter_map(Value::as_str) {
                    if value.as_object().is_some_and(|v| !v.contains_key(name)) {
                        wrong.push(format!("{at}: {name} is missing"));
                    }
                }
            }
            "properties" => {
                let Some(fields) = value.as_object() else { continue };
                for (name, field) in fields {
                    match rule.get(name) {
                        Some(rule) => check(root, rule, field, &format!("{at}/{name}"), wrong),
                        None => wrong.push(format!("{at}: {name} is not in the schema")),
                    }
                }
            }
            "minItems" | "maxItems" => {
                let bound = rule.as_u64().expect("a number");
                let fits = |n: u64| if keyword == "minItems" { n >= bound } else { n <= bound };
                if value.as_array().is_some_and(|v| !fits(v.len() as u64)) {
                    wrong.push(format!("{at}: {keyword} is {bound}"));
                }
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, item, &format!("{at}/{i}"), wrong);
                }
            }
            "$schema" | "$defs" | "title" | "description" | "format" => {}
            other => panic!("the checker does not know the keyword {other}"),
        }
    }
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("unknown type {other}"),
    }
}
