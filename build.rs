//! Builds the dashboard (`web/`) and writes the table of its files that `src/api/assets.rs` embeds.
//!
//! The gateway needs no Node to be built: without it, without the feature `dashboard` or with `GEMINI_BALANCE_SKIP_WEB`
//! set, the table is empty and the pages say how to get the dashboard. With `CI` set a failure is an error instead.
//! `GEMINI_BALANCE_WEB_DIST` names a folder in which it was built before.

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What the built files depend on; everything else under `web/` is for tests and editors.
const SOURCES: &[&str] = &[
    "web/src",
    "web/index.html",
    "web/public",
    "web/package.json",
    "web/package-lock.json",
    "web/.npmrc",
    "web/vite.config.ts",
    "web/compress.ts",
];
const SKIP: &str = "GEMINI_BALANCE_SKIP_WEB";
const DIST: &str = "GEMINI_BALANCE_WEB_DIST";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={SKIP}");
    println!("cargo::rerun-if-env-changed={DIST}");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let table = match built_folder(&out) {
        Ok(Some(folder)) => table_of(&folder)?,
        Ok(None) => table_of_nothing(),
        Err(error) if env::var_os("CI").is_some() => return Err(error),
        Err(error) => {
            println!("cargo::rerun-if-env-changed=CI");
            println!(
                "cargo::warning=the dashboard is left out: {error}; after mending that, `touch build.rs`"
            );
            table_of_nothing()
        }
    };
    fs::write(out.join("assets.rs"), table)?;
    Ok(())
}

/// The folder with the built dashboard; `None` when it is not wanted.
fn built_folder(out: &Path) -> Result<Option<PathBuf>> {
    let is_wanted = env::var_os("CARGO_FEATURE_DASHBOARD").is_some();
    if !is_wanted || env::var(SKIP).is_ok_and(|value| !value.is_empty() && value != "0") {
        return Ok(None);
    }
    if let Some(dist) = env::var_os(DIST) {
        return Ok(Some(fs::canonicalize(dist)?));
    }
    for source in SOURCES.iter().filter(|source| Path::new(source).exists()) {
        println!("cargo::rerun-if-changed={source}");
    }
    let web = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("web");
    if !is_installed(&web) {
        install(&web)?;
    }
    let folder = out.join("web");
    let vite = Path::new("node_modules").join("vite").join("bin").join("vite.js");
    let arguments = ["build", "--logLevel", "warn", "--emptyOutDir", "--outDir"];
    run(Command::new("node").arg(vite).args(arguments).arg(&folder).current_dir(&web))?;
    Ok(Some(folder))
}

/// Whether what is installed is not older than the list of it. npm keeps the hidden lock file for this very question.
fn is_installed(web: &Path) -> bool {
    let changed = |path: &str| fs::metadata(web.join(path)).and_then(|file| file.modified());
    match (changed("node_modules/.package-lock.json"), changed("package-lock.json")) {
        (Ok(installed), Ok(listed)) => installed >= listed,
        _ => false,
    }
}

/// Installs what a build needs, or everything where somebody had installed what checks and tests need as well.
fn install(web: &Path) -> Result<()> {
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let mut command = Command::new(npm);
    command.args(["ci", "--ignore-scripts", "--prefer-offline", "--loglevel=error"]).current_dir(web);
    if !web.join("node_modules/vitest").exists() {
        command.arg("--omit=dev");
    }
    run(&mut command)
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("`{program}` cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    // A warning of Cargo's is one line.
    let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    Err(format!("`{program}` failed with {}: {said}", output.status).into())
}

fn table_of_nothing() -> String {
    "pub static FILES: &[Asset] = &[];\n".to_owned()
}

/// Rust source: each file with its compressed forms, sorted by its path for a binary search.
fn table_of(folder: &Path) -> Result<String> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    let is_compressed = |file: &Path| file.extension().is_some_and(|end| end == "br" || end == "gz");
    files.retain(|file| !is_compressed(file));
    let mut paths: Vec<_> = files.iter().map(|file| (path_of(folder, file), file)).collect();
    paths.sort();
    let mut table = "pub static FILES: &[Asset] = &[\n".to_owned();
    for (path, file) in paths {
        let compressed = |end: &str| {
            let other = PathBuf::from(format!("{}.{end}", file.display()));
            if other.exists() { format!("Some(include_bytes!({other:?}))") } else { "None".to_owned() }
        };
        let (brotli, gzip) = (compressed("br"), compressed("gz"));
        writeln!(
            table,
            "    Asset {{ path: {path:?}, plain: include_bytes!({file:?}), brotli: {brotli}, gzip: {gzip} }},"
        )?;
    }
    table.push_str("];\n");
    Ok(table)
}

/// The path under which a file is asked for, as `assets/index-1a2b.js`.
fn path_of(folder: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(folder).unwrap_or(file);
    relative.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
