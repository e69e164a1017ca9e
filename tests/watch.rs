//! Promise: under `--watch` each save is one reload that nobody notices, however the files are written; what is no part
//! of the app is none.

mod support;

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::app::App;
use support::load::{Load, RATE};
use support::program;
use support::world::{APP, Builder, Hitless, SOON};
use tempfile::TempDir;

/// How many answers make a quiet time between two saves.
const QUIET: usize = 200;

/// How many files the other branch changes.
const FILES: u64 = 200;

/// The sources of an app: `app.py`, which holds the options of the built-in app, and others beside it.
struct Project {
    folder: TempDir,
}

impl Project {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("the system has a temporary folder");
        let project = Self { folder };
        project.put("app.py", &source(1));
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        let folder = path.parent().expect("it lies in the folder");
        fs::create_dir_all(folder).expect("the folder can be written to");
        fs::write(&path, text).expect("the folder can be written to");
    }

    /// Where the app reads its options from.
    fn app_reading(options: &Path) -> App {
        let program = program::hitless().display().to_string();
        let options = options.display().to_string();
        App::other(&[&program, "demo-app", "--options", &options])
    }

    fn watched(&self) -> Builder {
        let folder = self.folder.path().display().to_string();
        Hitless::of(&Self::app_reading(&self.path("app.py"))).option("--watch", &folder)
    }
}

/// Started, and every change is seen from now on.
async fn watching(builder: Builder) -> Hitless {
    let mut hitless = builder.start().await;
    hitless.program().says("files are watched", SOON).await;
    hitless
}

/// What `app.py` says to be this version.
fn source(version: u64) -> String {
    format!("--version={version}\n")
}

/// Runs a program in this folder; it must succeed.
async fn run(program: &str, folder: &Path, arguments: &[&str]) {
    let folder = folder.display().to_string();
    let mut words = vec!["--chdir", &folder, program];
    words.extend_from_slice(arguments);
    let nobody = [
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_SYSTEM", "/dev/null"),
        ("GIT_AUTHOR_NAME", "nobody"),
        ("GIT_AUTHOR_EMAIL", "nobody@localhost"),
        ("GIT_COMMITTER_NAME", "nobody"),
        ("GIT_COMMITTER_EMAIL", "nobody@localhost"),
        ("TERM", "dumb"),
    ];
    let ran = program::run(Path::new("/usr/bin/env"), words, &nobody, SOON).await;
    assert_eq!(
        ran.status, 0,
        "{program} {arguments:?} (127: it is not installed): {ran:#?}"
    );
}

/// How vim saves with `set backup`, by the letter of its system calls: a probe whether the folder can be written to, the
/// file renamed to its backup, and written anew, which takes two writes here.
fn save_like_vim(project: &Project, text: &str) -> io::Result<()> {
    let (file, backup) = (project.path("app.py"), project.path("app.py~"));
    let (probe, swap) = (project.path("4913"), project.path(".app.py.swp"));
    fs::write(&swap, "b0VIM 9.0")?;
    let mode = fs::metadata(&file)?.mode();
    fs::write(&probe, "")?;
    fs::remove_file(&probe)?;
    fs::rename(&file, &backup)?;
    fs::write(&file, &text[..3])?;
    fs::write(&file, text)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
    fs::remove_file(&swap)
}

/// Saves under load and waits until that version answers.
struct Saves<'a> {
    load: &'a Load,
    hitless: &'a mut Hitless,
    /// How many saves there were.
    count: u64,
}

impl Saves<'_> {
    /// One save, in whatever way; afterwards this version serves.
    async fn save(&mut self, how: &str, version: u64, save: impl Future<Output = ()>) {
        self.count += 1;
        let number = self.count + 1;
        let deed = async {
            save.await;
            self.hitless
                .wait_for(&format!("{how} is live"), SOON, |status| {
                    status.live(APP) >= Some(number)
                })
                .await
        };
        let status = self.load.during(how, deed).await;
        assert_eq!(status.last_trigger(APP, "source"), "file", "{status}");
        let answer = self.hitless.get("/").await.expect_status(200);
        assert_eq!(answer.version(), Some(version), "after {how}: {answer:#?}");
        self.load.answers(QUIET).await;
    }

    /// Each save was one reload, also the last one: a second one of it would have come before that of a sentinel.
    async fn were_one_reload_each(mut self, project: &Project, version: u64) {
        self.save("the sentinel", version, async {
            project.put("app.py", &source(version));
        })
        .await;
        let metrics = self.hitless.metrics().await;
        let labels = [("app", APP), ("trigger", "file")];
        let reloads = metrics.sum("hitless_reloads_total", &labels);
        assert_eq!(
            reloads,
            self.count as f64,
            "{}",
            self.hitless.status().await
        );
    }
}

async fn nobody_noticed(load: Load) {
    let record = load.stop().await;
    record.show();
    record.expect_unnoticed();
    record.expect_rate(RATE);
}

/// A repository whose branch `next` has this version, and other contents in 200 files.
async fn repository(project: &Project, version: u64) {
    let folder = project.folder.path();
    run("git", folder, &["init", "--quiet", "--initial-branch=main"]).await;
    for (branch, version) in [("main", 1), ("next", version)] {
        if branch != "main" {
            run("git", folder, &["checkout", "--quiet", "-b", branch]).await;
        }
        project.put("app.py", &source(version));
        for number in 0..FILES {
            let package = format!("package{}", number % 10);
            let text = format!("# {branch}\n").repeat(100);
            project.put(&format!("{package}/module{number}.py"), &text);
        }
        run("git", folder, &["add", "--all"]).await;
        run("git", folder, &["commit", "--quiet", "--message", branch]).await;
    }
    run("git", folder, &["checkout", "--quiet", "main"]).await;
}

#[tokio::test]
#[ignore = "needs git: run tests/run"]
async fn a_save_by_rename_a_shell_and_a_checkout_of_200_files_are_one_reload_each_and_noticed_by_nobody()
 {
    let project = Project::new();
    repository(&project, 4).await;
    let mut hitless = watching(project.watched()).await;
    let load = Load::start(hitless.address()).await;
    load.answers(QUIET).await;
    let mut saves = Saves {
        load: &load,
        hitless: &mut hitless,
        count: 0,
    };
    let vim = async { save_like_vim(&project, &source(2)).expect("the folder can be written to") };
    saves.save("a save like vim's", 2, vim).await;
    let folder = project.folder.path();
    let echo = run("sh", folder, &["-c", "echo --version=3 > app.py"]);
    saves.save("echo", 3, echo).await;
    let checkout = run("git", folder, &["checkout", "--force", "--quiet", "next"]);
    saves.save("git checkout", 4, checkout).await;
    let named = saves.hitless.status().await.last_trigger(APP, "cause");
    assert!(named.ends_with(&format!(" (and {FILES} more)")), "{named}");
    saves.were_one_reload_each(&project, 5).await;
    nobody_noticed(load).await;
}

#[tokio::test]
#[ignore = "needs vim: run tests/run"]
async fn vim_itself_makes_one_reload_a_save() {
    let project = Project::new();
    let mut hitless = watching(project.watched()).await;
    let load = Load::start(hitless.address()).await;
    load.answers(QUIET).await;
    let mut saves = Saves {
        load: &load,
        hitless: &mut hitless,
        count: 0,
    };
    let settings = [
        "set swapfile backup writebackup backupcopy=no",
        "set backup backupcopy=yes",
        "set nobackup nowritebackup",
        "set backup writebackup backupcopy=auto undofile",
    ];
    for (version, settings) in (2..).zip(settings) {
        let substitute = format!("%s/=.*/={version}/");
        let words = [
            "-u",
            "NONE",
            "-i",
            "NONE",
            "-es",
            "-c",
            settings,
            "-c",
            &substitute,
            "-c",
            "wq",
            "app.py",
        ];
        let save = run("vim", project.folder.path(), &words);
        saves.save(settings, version, save).await;
    }
    saves.were_one_reload_each(&project, 6).await;
    nobody_noticed(load).await;
}

#[tokio::test]
#[ignore = "needs rsync: run tests/run"]
async fn rsync_makes_one_reload_a_run() {
    let (project, elsewhere) = (Project::new(), Project::new());
    let mut hitless = watching(project.watched()).await;
    let load = Load::start(hitless.address()).await;
    load.answers(QUIET).await;
    let mut saves = Saves {
        load: &load,
        hitless: &mut hitless,
        count: 0,
    };
    for version in 2..=3 {
        elsewhere.put("app.py", &source(version));
        for number in 0..FILES {
            let package = format!("package{version}-{}", number % 10);
            elsewhere.put(&format!("{package}/module{number}.py"), "# new\n");
        }
        let from = format!("{}/", elsewhere.folder.path().display());
        let to = format!("{}/", project.folder.path().display());
        let words = ["--archive", "--delete", &from, &to];
        let rsync = run("rsync", project.folder.path(), &words);
        saves.save("rsync", version, rsync).await;
    }
    saves.were_one_reload_each(&project, 4).await;
    nobody_noticed(load).await;
}

/// Waits until a reload asked for by files has ended, and no other one; what it was.
async fn told(hitless: &mut Hitless, trigger: u64, verdict: &str) -> String {
    let status = hitless
        .wait_for(&format!("trigger {trigger} is {verdict}"), SOON, |status| {
            status.last_trigger(APP, "trigger") == trigger.to_string()
        })
        .await;
    assert_eq!(status.last_trigger(APP, "source"), "file", "{status}");
    assert_eq!(status.last_trigger(APP, "verdict"), verdict, "{status}");
    status.last_trigger(APP, "cause")
}

#[tokio::test]
async fn a_broken_save_names_the_file_and_the_last_good_version_serves_on() {
    let project = Project::new();
    let mut hitless = watching(project.watched()).await;
    project.put("app.py", "--die-at-start=3\n");
    let cause = told(&mut hitless, 2, "failed").await;
    assert_eq!(cause, project.path("app.py").display().to_string());
    assert_eq!(hitless.get("/").await.expect_status(200).version(), Some(1));
    let shown = hitless.command(&["status"]).await;
    let line = format!("(file: {cause})");
    assert!(shown.stdout.contains(&line), "{shown:#?}");
    let log = hitless.program().output();
    assert!(log.contains(&format!("cause={cause:?}")), "{log}");
    project.put("app.py", &source(2));
    told(&mut hitless, 3, "live").await;
    assert!(!hitless.status().await.stale(APP));
}

#[tokio::test]
async fn what_is_no_part_of_the_app_makes_no_reload() {
    let project = Project::new();
    project.put(".gitignore", "*.gen\n/dist/\n");
    let list = r#"ignore = ["*.md", "!kept.log"]"#;
    let paths = format!(
        "[app.app.watch]\npaths = [{:?}]\n{list}",
        project.folder.path()
    );
    let app = Project::app_reading(&project.path("app.py"));
    let mut hitless = watching(Hitless::of(&app).setting(&paths)).await;
    for name in [
        "a.gen",
        "app.py~",
        ".app.py.swp",
        "4913",
        "#app.py#",
        "app.pyc",
        "other.log",
        "README.md",
    ] {
        project.put(name, "x");
    }
    for name in ["dist", "__pycache__", "node_modules", ".git", "target"] {
        project.put(&format!("{name}/file"), "x");
    }
    fs::create_dir(project.path("empty")).unwrap();
    fs::read(project.path("app.py")).unwrap();
    // The kernel tells in order: had one of them counted, it would be named first.
    project.put("kept.log", "x");
    let cause = told(&mut hitless, 2, "live").await;
    assert_eq!(cause, project.path("kept.log").display().to_string());
}

#[tokio::test]
async fn a_gitignore_counts_as_soon_as_it_is_written() {
    let project = Project::new();
    let mut hitless = watching(project.watched()).await;
    project.put(".gitignore", "*.gen\n");
    project.put("app.py", &source(2));
    told(&mut hitless, 2, "live").await;
    project.put("a.gen", "x");
    project.put("b.txt", "x");
    let cause = told(&mut hitless, 3, "live").await;
    assert_eq!(cause, project.path("b.txt").display().to_string());
}

#[tokio::test]
async fn new_folders_are_watched_and_so_is_what_is_moved_in() {
    let (project, elsewhere) = (Project::new(), tempfile::tempdir().unwrap());
    let mut hitless = watching(project.watched()).await;
    project.put("a/b/c/new.py", "x");
    let cause = told(&mut hitless, 2, "live").await;
    assert_eq!(cause, project.path("a/b/c/new.py").display().to_string());
    project.put("a/b/c/new.py", "y");
    told(&mut hitless, 3, "live").await;
    fs::create_dir_all(elsewhere.path().join("d/e")).unwrap();
    fs::write(elsewhere.path().join("d/e/moved.py"), "x").unwrap();
    run(
        "mv",
        elsewhere.path(),
        &["d", &project.path("d").display().to_string()],
    )
    .await;
    let cause = told(&mut hitless, 4, "live").await;
    assert_eq!(cause, project.path("d/e/moved.py").display().to_string());
    project.put("d/e/moved.py", "y");
    told(&mut hitless, 5, "live").await;
    fs::remove_dir_all(project.path("a")).unwrap();
    told(&mut hitless, 6, "live").await;
}

#[tokio::test]
async fn a_symlink_that_is_pointed_elsewhere_is_followed() {
    let project = Project::new();
    for release in 1..=2 {
        project.put(&format!("releases/{release}/app.py"), &source(release));
    }
    let current = project.path("current");
    symlink("releases/1", &current).unwrap();
    let app = Project::app_reading(&current.join("app.py"));
    let path = current.display().to_string();
    let mut hitless = watching(Hitless::of(&app).option("--watch", &path)).await;

    symlink("releases/2", project.path("current.new")).unwrap();
    fs::rename(project.path("current.new"), &current).unwrap();
    let cause = told(&mut hitless, 2, "live").await;
    assert_eq!(cause, path);
    assert_eq!(hitless.get("/").await.version(), Some(2));
    // The new one is watched, and the old one no longer.
    project.put("releases/1/app.py", &source(7));
    project.put("releases/2/app.py", &source(3));
    let cause = told(&mut hitless, 3, "live").await;
    assert_eq!(cause, current.join("app.py").display().to_string());
    assert_eq!(hitless.get("/").await.version(), Some(3));
}

#[tokio::test]
async fn a_single_file_is_followed_however_it_is_saved() {
    let project = Project::new();
    let path = project.path("app.py").display().to_string();
    let app = Project::app_reading(&project.path("app.py"));
    let mut hitless = watching(Hitless::of(&app).option("-w", &path)).await;
    save_like_vim(&project, &source(2)).unwrap();
    assert_eq!(told(&mut hitless, 2, "live").await, path);
    project.put("other.py", "x");
    project.put("app.py", &source(3));
    assert_eq!(told(&mut hitless, 3, "live").await, path);
    assert_eq!(hitless.get("/").await.version(), Some(3));
}

#[tokio::test]
async fn a_path_that_vanishes_is_said_and_watched_again_when_it_is_back() {
    let project = Project::new();
    fs::create_dir(project.path("assets")).unwrap();
    let path = project.path("assets").display().to_string();
    let app = Project::app_reading(&project.path("app.py"));
    let mut hitless = watching(Hitless::of(&app).option("--watch", &path)).await;
    fs::rename(project.path("assets"), project.path("away")).unwrap();
    let note = format!("{path} is not there; it is watched again when it is back");
    let said = |status: &support::status::Status| status.notes(APP).contains(&note);
    hitless.wait_for("it says so", SOON, said).await;
    // It does not stand in the way of a reload meanwhile.
    hitless.reload().await.expect_status(0, "reload");

    fs::create_dir(project.path("assets")).unwrap();
    hitless
        .wait_for("it is back", SOON, |status| !said(status))
        .await;
    assert_eq!(told(&mut hitless, 3, "live").await, path);
    project.put("assets/new.css", "x");
    assert_eq!(
        told(&mut hitless, 4, "live").await,
        format!("{path}/new.css")
    );
}

#[tokio::test]
async fn a_folder_that_is_made_anew_at_once_is_watched_on() {
    let project = Project::new();
    project.put("assets/a.css", "1");
    let path = project.path("assets").display().to_string();
    let app = Project::app_reading(&project.path("app.py"));
    let mut hitless = watching(Hitless::of(&app).option("--watch", &path)).await;
    // Many file systems give it the inode of the one before.
    fs::remove_dir_all(project.path("assets")).unwrap();
    project.put("assets/a.css", "2");
    assert_eq!(told(&mut hitless, 2, "live").await, path);
    project.put("assets/a.css", "3");
    let cause = told(&mut hitless, 3, "live").await;
    assert_eq!(cause, format!("{path}/a.css"));
}

#[tokio::test]
async fn a_single_file_is_followed_into_another_folder_of_the_same_name() {
    let project = Project::new();
    project.put("conf/app.toml", "1");
    project.put("new/app.toml", "2");
    let path = project.path("conf/app.toml").display().to_string();
    let app = Project::app_reading(&project.path("app.py"));
    let mut hitless = watching(Hitless::of(&app).option("--watch", &path)).await;
    fs::rename(project.path("conf"), project.path("old")).unwrap();
    fs::rename(project.path("new"), project.path("conf")).unwrap();
    assert_eq!(told(&mut hitless, 2, "live").await, path);
    project.put("conf/app.toml", "3");
    assert_eq!(told(&mut hitless, 3, "live").await, path);
}

#[tokio::test]
async fn where_the_kernel_does_not_tell_files_are_looked_at() {
    let project = Project::new();
    let settings = format!(
        "[app.app.watch]\npoll = true\npaths = [{:?}]",
        project.folder.path()
    );
    let app = Project::app_reading(&project.path("app.py"));
    let mut hitless = watching(Hitless::of(&app).setting(&settings)).await;
    hitless
        .wait_for("it says so", SOON, |status| {
            status.notes(APP).contains("poll = true")
        })
        .await;
    save_like_vim(&project, &source(2)).unwrap();
    let cause = told(&mut hitless, 2, "live").await;
    assert_eq!(cause, project.path("app.py").display().to_string());
    for number in 0..FILES {
        project.put(&format!("lib/{number}.py"), "x");
    }
    assert!(
        told(&mut hitless, 3, "live")
            .await
            .ends_with("(and 199 more)")
    );
    fs::remove_file(project.path("lib/0.py")).unwrap();
    let cause = told(&mut hitless, 4, "live").await;
    assert_eq!(cause, project.path("lib/0.py").display().to_string());
}

#[tokio::test]
async fn a_save_while_a_version_starts_is_the_newest_trigger() {
    let project = Project::new();
    let mut hitless = watching(project.watched()).await;
    project.put("app.py", "--version=2\n--never-listen\n");
    hitless.program().says("listening nowhere", SOON).await;
    project.put("app.py", &source(3));
    told(&mut hitless, 3, "live").await;
    assert_eq!(hitless.get("/").await.version(), Some(3));
    let metrics = hitless.metrics().await;
    let labels = [("trigger", "file"), ("verdict", "superseded")];
    let superseded = metrics.sum("hitless_reloads_total", &labels);
    assert_eq!(superseded, 1.0, "{}", metrics.0);
}

#[tokio::test]
async fn a_writer_without_end_gets_a_reload_all_the_same() {
    let project = Project::new();
    let mut hitless = watching(project.watched()).await;
    let path = project.path("data.txt");
    let writer = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            fs::write(&path, "x").unwrap();
        }
    });
    told(&mut hitless, 2, "live").await;
    writer.abort();
}

#[tokio::test]
async fn what_is_started_again_from_a_changed_file_says_so() {
    let project = Project::new();
    let mut hitless = watching(project.watched().option("--probation", "0")).await;
    project.put("app.py", "--die-at-start=3\n");
    told(&mut hitless, 2, "failed").await;
    let log = hitless.program().output();
    let words = "started again from changed files";
    assert!(!log.contains(words), "{log}");
    // The one that serves dies: it can be started again only from what is there now.
    let pid = hitless.status().await.live_pid(APP);
    support::processes::send(pid, rustix::process::Signal::KILL);
    hitless.program().says(words, SOON).await;
    project.put("app.py", &source(5));
    hitless
        .wait_for("the good one serves", SOON, |status| {
            status.live(APP).is_some() && !status.stale(APP)
        })
        .await;
    assert_eq!(hitless.get("/").await.version(), Some(5));
}

#[tokio::test]
async fn a_reload_of_the_configuration_takes_over_what_is_watched() {
    let (project, other) = (Project::new(), Project::new());
    let app = Project::app_reading(&project.path("app.py"));
    let mut hitless = Hitless::of(&app).setting("env = {}").start().await;
    let settings = format!("[app.app.watch]\npaths = [{:?}]", other.folder.path());
    hitless.configure(&app, &settings);
    hitless.reload().await.expect_status(0, "reload");
    hitless.program().says("files are watched", SOON).await;
    other.put("app.py", "x");
    let cause = told(&mut hitless, 3, "live").await;
    assert_eq!(cause, other.path("app.py").display().to_string());
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_refused_at_the_start_and_by_check() {
    let project = Project::new();
    let app = Project::app_reading(&project.path("app.py"));
    let missing = project.path("srcc").display().to_string();
    let mut hitless = Hitless::of(&app).option("--watch", &missing).spawn();
    assert_eq!(hitless.program().ends(SOON).await, 2);
    let refusal = format!("nothing at the watched path {missing:?}");
    hitless.program().says(&refusal, SOON).await;

    let file = project.path("hitless.toml");
    let text = format!("[app.web]\ncommand = [\"x\"]\n[app.web.watch]\npaths = [{missing:?}]\n");
    fs::write(&file, text).unwrap();
    let words = ["check", "--config", &file.display().to_string()].map(str::to_owned);
    let ran = program::run(program::hitless(), words, &[], SOON).await;
    assert_eq!(ran.status, 78, "{ran:#?}");
    let place = format!("{}:4:10: there is nothing at", file.display());
    assert!(ran.stderr.contains(&place), "{ran:#?}");
}
