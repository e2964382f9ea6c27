//! `objdump`, `explore` and `settings`.

#![cfg(feature = "disas")]

mod support;

use serde_json::Value;
use support::Sandbox;

const DEMO: &str = r#"(module $demo
    (import "host" "f" (func $host))
    (memory 1)
    (func $inner (param i32) (result i32)
        (i32.load offset=4 (local.get 0)))
    (func $main (export "main") (param i32 i32) (result i32)
        call $host
        (i32.div_s (call $inner (local.get 0)) (local.get 1)))
    (func $<pick> (export "pick") (param i32) (result i32)
        (block (block (block (block (br_table 0 1 2 3 (local.get 0)))
            (return (i32.const 10))) (return (i32.const 20))) (return (i32.const 30)))
        i32.const 40))"#;

#[test]
fn objdump_shows_code_beside_instructions() {
    let sandbox = Sandbox::new();
    sandbox.file("demo.wat", DEMO);
    let text = sandbox.run("objdump demo.wat").success();
    let mut lines = text.lines();
    let host = lines.next().unwrap().strip_prefix("demo.wat: ").unwrap();
    assert!(host.starts_with(std::env::consts::ARCH), "{host}");
    for part in [
        " inner:  ; function 1\n",
        " main:  ; function 2\n",
        " <pick>:  ; function 3\n",
        "  i32.load offset=4\n",
        "; trap: MemoryOutOfBounds\n",
        "  call $inner\n",
        "  i32.div_s\n",
        "; trap: IntegerDivisionByZero\n",
        " <entry trampoline of type ",
        " <exit trampoline of type ",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(!text.contains("(bad)"), "{text}");
    let called = sandbox.run("objdump -C inlining=n demo.wat").success();
    assert!(called.contains("  ; inner\n"), "{called}");

    let one = sandbox.run("objdump --function inn demo.wat").success();
    assert!(one.contains(" inner:") && !one.contains(" main:"), "{one}");
    let one = sandbox
        .run("objdump --function 2 --bytes demo.wat")
        .success();
    assert!(one.contains(" main:") && !one.contains(" inner:"), "{one}");
    sandbox
        .run("objdump --function nobody demo.wat")
        .failure(1, &["there is no function `nobody`"]);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn objdump_of_known_code() {
    let sandbox = Sandbox::new();
    sandbox.file(
        "f.wat",
        "(module (func $f (export \"f\") (result i32) i32.const 305419896))",
    );
    let text = sandbox.run("objdump --bytes --function 0 f.wat").success();
    for part in [
        "       0:  55                              push    rbp\n",
        "       1:  48 89 e5                        mov     rbp, rsp\n",
        "b8 78 56 34 12                  mov     eax, 0x12345678\n",
        "c3                              ret\n",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn objdump_of_artifacts() {
    let sandbox = Sandbox::new();
    sandbox.file("demo.wat", DEMO);
    sandbox.run("compile demo.wat").success();
    let machine_code = |arguments: &str| {
        let text = sandbox.run(arguments).success();
        let lines = text.lines().skip(1).filter(|line| !line.contains(";; 0x"));
        lines.map(str::to_string).collect::<Vec<_>>()
    };
    let of_artifact = machine_code("objdump demo.cwasm");
    assert!(of_artifact.len() > 20);
    assert_eq!(of_artifact, machine_code("objdump demo.wat"));

    let artifact = std::fs::read(sandbox.path().join("demo.cwasm")).unwrap();
    for len in (0..artifact.len()).step_by(211) {
        sandbox.file("short.cwasm", &artifact[..len]);
        let ran = sandbox.run("objdump short.cwasm");
        assert_eq!(ran.code, Some(1), "{len}: {ran:#?}");
    }
    for at in (0..artifact.len()).step_by(499) {
        let mut damaged = artifact.clone();
        damaged[at] ^= 0xff;
        sandbox.file("damaged.cwasm", damaged);
        let ran = sandbox.run("objdump damaged.cwasm");
        assert!(matches!(ran.code, Some(0 | 1)), "{at}: {ran:#?}");
    }
    sandbox.file("elf", std::fs::read(env!("CARGO_BIN_EXE_waxwing")).unwrap());
    sandbox
        .run("objdump elf")
        .failure(1, &["`elf`", "not a compiled module"]);
    sandbox
        .run("explore demo.cwasm")
        .failure(1, &["`demo.cwasm` is an artifact", "waxwing objdump"]);
}

/// What a page has in the script element `id`.
fn unpack(page: &str, id: &str) -> Value {
    let start = format!("<script type=\"text/plain\" id=\"{id}\">");
    let (_, rest) = page.split_once(&start).unwrap_or_else(|| panic!("no {id}"));
    let (text, _) = rest.split_once("</script>").unwrap();
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut packed = Vec::new();
    for chunk in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = chunk
            .iter()
            .fold(0u32, |bits, c| bits << 6 | u32::from(digit(*c)));
        let bits = bits << (6 * (4 - chunk.len()));
        packed.extend_from_slice(&bits.to_be_bytes()[1..chunk.len()]);
    }
    let json = miniz_oxide::inflate::decompress_to_vec_zlib(&packed).unwrap();
    serde_json::from_slice(&json).unwrap()
}

#[test]
fn explore_writes_one_page() {
    let sandbox = Sandbox::new();
    sandbox.file("demo.wat", DEMO);
    let printed = sandbox.run("explore demo.wat").success();
    assert_eq!(printed, "demo.explore.html\n");
    let page = std::fs::read_to_string(sandbox.path().join("demo.explore.html")).unwrap();
    assert!(page.starts_with("<!doctype html>"));
    assert!(page.contains("<title>demo.wat — waxwing explore</title>"));
    for elsewhere in ["http", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    let index = unpack(&page, "index");
    let functions = index["functions"].as_array().unwrap();
    assert_eq!(functions[0][0], "inner");
    assert_eq!(
        (&functions[1][0], &functions[1][1]),
        (&"main".into(), &2.into())
    );
    assert_eq!(functions[2][0], "<pick>");
    assert_eq!(index["parts"], serde_json::json!([0]));
    let listings = unpack(&page, "part0");
    let main = &listings[1];
    let wasm: Vec<(u32, &str)> = {
        let mut offset = 0;
        let lines = main[0].as_str().unwrap().lines();
        lines
            .map(|line| {
                let (distance, text) = line.split_once('\t').unwrap();
                offset += u32::from_str_radix(distance, 16).unwrap();
                (offset, text.trim())
            })
            .collect()
    };
    let texts: Vec<&str> = wasm.iter().map(|(_, text)| *text).collect();
    let expected = [
        "call $host",
        "local.get 0",
        "call $inner",
        "local.get 1",
        "i32.div_s",
        ")",
    ];
    assert_eq!(texts[1..], expected);
    // Each line of machine code that is linked is linked to a line of the function.
    let mut linked = 0;
    let mut size = 0;
    for line in main[1].as_str().unwrap().lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        size += u32::from_str_radix(columns[0], 16).unwrap();
        if let Ok(offset) = u32::from_str_radix(columns[1], 16) {
            assert!(wasm.iter().any(|(found, _)| *found == offset), "{line}");
            linked += 1;
        }
        assert_eq!(columns.len(), 3);
    }
    assert!(linked >= 4);
    assert_eq!(functions[1][3], size);

    sandbox
        .run("explore --bytes --function pick demo.wat -o other.html")
        .success();
    let page = std::fs::read_to_string(sandbox.path().join("other.html")).unwrap();
    let listings = unpack(&page, "part0");
    assert_eq!(listings.as_array().unwrap().len(), 1);
    let line = listings[0][1].as_str().unwrap().lines().next().unwrap();
    assert_eq!(line.split('\t').count(), 4);
    sandbox
        .run("explore demo.wat -o no/such/file.html")
        .failure(1, &["failed to write `no/such/file.html`"]);
}

#[test]
fn names_in_a_page_are_no_markup() {
    let sandbox = Sandbox::new();
    let name = "a&lt;<script>alert(1)</script>{data}.wat";
    let Ok(()) = std::fs::create_dir_all(sandbox.path().join("a&lt;<script>alert(1)<")) else {
        return;
    };
    sandbox.file(name, "(module (func $\"</script><b>\" (export \"f\")))");
    let ran = sandbox
        .waxwing("explore -o page.html")
        .arg(name)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let page = std::fs::read_to_string(sandbox.path().join("page.html")).unwrap();
    assert!(!page.contains("</script><b>"));
    assert_eq!(unpack(&page, "index")["functions"][0][0], "</script><b>");
}

#[test]
fn settings_of_the_code_generator() {
    let sandbox = Sandbox::new();
    let json = |arguments: &str| -> Value {
        serde_json::from_str(&sandbox.run(arguments).success()).unwrap()
    };
    let value = |shown: &Value, list: &str, name: &str| {
        let settings = shown[list].as_array().unwrap().iter();
        let mut found = settings.filter(|setting| setting["name"] == name);
        found.next().unwrap_or_else(|| panic!("no {name}"))["value"].clone()
    };
    let shown = json("settings --json");
    assert_eq!(value(&shown, "shared", "opt_level"), "speed");
    let shown = json("settings --json -O opt-level=none -C cranelift-enable_verifier=true");
    assert_eq!(value(&shown, "shared", "opt_level"), "none");
    assert_eq!(value(&shown, "shared", "enable_verifier"), "true");
    #[cfg(target_arch = "x86_64")]
    {
        let has = std::arch::is_x86_feature_detected!("avx2").to_string();
        assert_eq!(value(&shown, "target_settings", "has_avx2"), *has);
        // A target by name starts from the least processor.
        let shown = json("settings --json -C target=x86_64-unknown-linux-gnu");
        assert_eq!(value(&shown, "target_settings", "has_avx2"), "false");
        let text = sandbox.run("settings").success();
        assert!(text.contains(&format!(
            "  has_avx2 = {has}\n      Has support for AVX2.\n"
        )));
        assert!(
            text.contains("  opt_level = speed  (none, speed, speed_and_size)\n"),
            "{text}"
        );
        assert!(text.contains("\n  skylake: "), "{text}");
    }
}
