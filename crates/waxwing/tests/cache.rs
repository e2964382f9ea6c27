//! The cache of compiled modules on disk, and the store of compiled functions.

#![cfg(all(feature = "cache", feature = "wat"))]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use waxwing::{
    Cache, CacheConfig, CodeBuilder, Config, Engine, Instance, Module, OptLevel, Result, Store,
};

const MODULE: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 100) "from the image")
    (func $add (export "add") (param i32 i32) (result i32)
        local.get 0
        local.get 1
        i32.add))"#;

fn cache(directory: &TempDir) -> Cache {
    let mut config = CacheConfig::new();
    config.with_directory(directory.path());
    Cache::new(config).unwrap()
}

fn engine(cache: &Cache, set: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    config.cache(Some(cache.clone()));
    set(&mut config);
    Engine::new(&config).unwrap()
}

/// Whether a module does what it should.
#[track_caller]
fn check(module: &Module) {
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new(&mut store, module, &[]).unwrap();
    let add = instance
        .get_typed_func::<(i32, i32), i32>(&mut store, "add")
        .unwrap();
    assert_eq!(add.call(&mut store, (40, 2)).unwrap(), 42);
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    assert_eq!(&memory.data(&store)[100..114], b"from the image");
    assert_eq!(module.functions().next().unwrap().name.unwrap(), "add");
}

fn counts(cache: &Cache) -> (usize, usize) {
    (cache.cache_hits(), cache.cache_misses())
}

fn entries(cache: &Cache) -> Vec<PathBuf> {
    let Ok(list) = fs::read_dir(cache.directory().unwrap()) else {
        return Vec::new();
    };
    list.map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some())
        .collect()
}

#[test]
fn modules_are_compiled_once() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(&directory);
    let compiled = Module::new(&engine(&cache, |_| {}), MODULE).unwrap();
    check(&compiled);
    assert_eq!(counts(&cache), (0, 1));

    let wasm = wat::parse_str(MODULE).unwrap();
    let engine = engine(&cache, |_| {});
    let found = Module::from_binary(&engine, &wasm).unwrap();
    check(&found);
    assert_eq!(counts(&cache), (1, 1));
    // To the byte what was compiled.
    assert_eq!(found.serialize().unwrap(), compiled.serialize().unwrap());
    let mut builder = CodeBuilder::new(&engine);
    builder.wasm_binary(wasm, None).unwrap();
    check(&builder.compile_module().unwrap());
    assert_eq!(counts(&cache), (2, 1));
    assert_eq!(entries(&cache).len(), 1);

    // Other bytes, if only by a name.
    let other = Module::new(&engine, MODULE.replace("$add", "$sum")).unwrap();
    assert_eq!(other.functions().next().unwrap().name.unwrap(), "sum");
    assert_eq!(counts(&cache), (2, 2));
    // What does not compile is told each time.
    for _ in 0..2 {
        assert!(Module::new(&engine, "(module (func i32.add))").is_err());
    }
    assert_eq!(counts(&cache), (2, 4));
    assert_eq!(entries(&cache).len(), 2);
}

#[test]
fn engines_with_other_settings_share_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(&directory);
    type Set = fn(&mut Config);
    let settings: [Set; 10] = [
        |_| {},
        |config| _ = config.cranelift_opt_level(OptLevel::Speed),
        |config| _ = config.cranelift_nan_canonicalization(true),
        |config| _ = config.consume_fuel(true),
        |config| _ = config.epoch_interruption(true),
        |config| _ = config.signals_based_traps(false),
        |config| _ = config.memory_reservation(1 << 20),
        |config| _ = config.wasm_tail_call(false),
        |config| _ = config.generate_address_map(false),
        |config| {
            let version = waxwing::ModuleVersionStrategy::Custom("mine".into());
            config.module_version(version).unwrap();
        },
    ];
    for (i, set) in settings.into_iter().enumerate() {
        Module::new(&engine(&cache, set), MODULE).unwrap();
        assert_eq!(counts(&cache), (0, i + 1));
    }
    for (i, set) in settings.into_iter().enumerate() {
        Module::new(&engine(&cache, set), MODULE).unwrap();
        assert_eq!(counts(&cache), (i + 1, settings.len()));
    }
}

#[test]
fn damaged_entries_are_compiled_again() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(&directory);
    let engine = engine(&cache, |_| {});
    let compiled = Module::new(&engine, MODULE).unwrap();
    let path = entries(&cache).pop().unwrap();
    let good = fs::read(&path).unwrap();
    let mut damaged: Vec<Vec<u8>> = [0, 1, 64, good.len() / 2, good.len() - 1]
        .map(|len| good[..len].to_vec())
        .into();
    // Also in the code, which no other check covers.
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        damaged.push(bad);
    }
    for (i, bad) in damaged.into_iter().enumerate() {
        fs::remove_file(&path).unwrap();
        fs::write(&path, bad).unwrap();
        let module = Module::new(&engine, MODULE).unwrap();
        assert_eq!(counts(&cache), (i, 2 + i));
        assert_eq!(module.serialize().unwrap(), compiled.serialize().unwrap());
        assert_eq!(fs::read(&path).unwrap(), good, "it was replaced");
        check(&Module::new(&engine, MODULE).unwrap());
    }
}

#[test]
fn modules_stay_when_their_entries_go() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(&directory);
    let engine = engine(&cache, |_| {});
    Module::new(&engine, MODULE).unwrap();
    let found = Module::new(&engine, MODULE).unwrap();
    assert_eq!(cache.cache_hits(), 1);
    fs::remove_dir_all(directory.path()).unwrap();
    check(&found);
    check(&Module::new(&engine, MODULE).unwrap());
    assert_eq!(entries(&cache).len(), 1);
}

#[test]
fn without_a_directory_modules_are_compiled() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let mut config = CacheConfig::new();
    config.with_directory(&file);
    let cache = Cache::new(config).unwrap();
    let engine = engine(&cache, |_| {});
    for _ in 0..2 {
        check(&Module::new(&engine, MODULE).unwrap());
    }
    assert_eq!(counts(&cache), (0, 2));
}

fn write_config(directory: &Path, more: &str) -> PathBuf {
    let path = directory.join("config.toml");
    let cache = directory.join("cache");
    fs::write(
        &path,
        format!("[cache]\ndirectory = '{}'\n{more}", cache.display()),
    )
    .unwrap();
    path
}

fn count_files(directory: &Path) -> usize {
    let list = fs::read_dir(directory.join("cache/v1"))
        .into_iter()
        .flatten();
    list.filter(|file| file.as_ref().unwrap().path().extension().is_some())
        .count()
}

#[test]
fn configurations_come_from_files() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = write_config(directory.path(), "");
    let mut config = Config::new();
    Module::new(&Engine::new(&config)?, MODULE)?;
    assert_eq!(
        count_files(directory.path()),
        0,
        "nothing is kept unless asked for"
    );
    config.cache_config_load(&path)?;
    Module::new(&Engine::new(&config)?, MODULE)?;
    assert_eq!(count_files(directory.path()), 1);
    config.disable_cache();
    Module::new(&Engine::new(&config)?, "(module)")?;
    assert_eq!(count_files(directory.path()), 1);
    write_config(directory.path(), "enabled = false");
    config.cache_config_load(&path)?;
    Module::new(&Engine::new(&config)?, "(module)")?;
    assert_eq!(count_files(directory.path()), 1);

    write_config(directory.path(), "speed = 'high'");
    let error = format!("{:#}", config.cache_config_load(&path).unwrap_err());
    assert!(
        error.contains("config.toml") && error.contains("speed"),
        "{error}"
    );
    Ok(())
}

/// In a process of its own, as the user's directories are named by environment variables.
#[cfg(all(unix, not(target_vendor = "apple")))]
#[test]
fn the_user_has_a_configuration_and_a_cache() -> Result<()> {
    const USER: &str = "WAXWING_TEST_CACHE_USER";
    if std::env::var_os(USER).is_some() {
        let mut config = Config::new();
        config.cache_config_load_default()?;
        let module = Module::new(&Engine::new(&config)?, MODULE)?;
        check(&module);
        return Ok(());
    }
    let user = tempfile::tempdir()?;
    let run = || {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_user_has_a_configuration_and_a_cache"])
            .env(USER, "")
            .env("XDG_CONFIG_HOME", user.path().join("config"))
            .env("XDG_CACHE_HOME", user.path().join("cache"))
            .output();
        output.unwrap().status.success()
    };
    let count = || {
        let list = fs::read_dir(user.path().join("cache/waxwing/v1"));
        list.into_iter().flatten().count()
    };
    assert!(run(), "no file is needed");
    assert_ne!(count(), 0);
    fs::remove_dir_all(user.path().join("cache"))?;
    let config = user.path().join("config/waxwing");
    fs::create_dir_all(&config)?;
    fs::write(config.join("config.toml"), "[cache]\nenabled = false")?;
    assert!(run());
    assert_eq!(count(), 0, "the user's file is not read");
    fs::write(config.join("config.toml"), "[cache]\nspeed = 'high'")?;
    assert!(!run(), "errors in the file are told");
    Ok(())
}

/// What a process of `processes_share_a_directory` does: not a test by itself.
const CHILD: &str = "WAXWING_TEST_CACHE_DIRECTORY";

#[test]
fn processes_share_a_directory() {
    let modules = 20;
    let wat = |i: usize| format!("(module (func (export \"f\") (result i32) i32.const {i}))");
    let use_cache = |cache: &Cache| {
        let engine = engine(cache, |_| {});
        for i in 0..modules {
            let module = Module::new(&engine, wat(i)).unwrap();
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
            assert_eq!(f.call(&mut store, ()).unwrap(), i as i32);
        }
    };
    let config = |directory: &Path| {
        let mut config = CacheConfig::new();
        // So that they delete each other's entries, too.
        config
            .with_directory(directory)
            .with_cleanup_interval(std::time::Duration::ZERO)
            .with_file_count_soft_limit(15);
        config
    };
    if let Some(directory) = std::env::var_os(CHILD) {
        for _ in 0..10 {
            use_cache(&Cache::new(config(Path::new(&directory))).unwrap());
        }
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let children = [(); 3].map(|()| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes_share_a_directory"])
            .env(CHILD, directory.path())
            .spawn()
            .unwrap()
    });
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
    }
    let cache = cache(&directory);
    use_cache(&cache);
    use_cache(&cache);
    assert!(cache.cache_hits() >= modules, "{:?}", counts(&cache));
    let files = fs::read_dir(cache.directory().unwrap()).unwrap();
    let temporary = files.filter(|file| {
        let name = file.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("tmp")
    });
    assert_eq!(temporary.count(), 0);
}

#[test]
fn intermediate_representation_is_written_also_with_a_cache() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(&directory);
    Module::new(&engine(&cache, |_| {}), MODULE).unwrap();
    let clif = directory.path().join("clif");
    Module::new(
        &engine(&cache, |config| _ = config.emit_clif(&clif)),
        MODULE,
    )
    .unwrap();
    assert!(clif.join("function-0.clif").exists());
}
