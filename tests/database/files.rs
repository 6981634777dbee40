//! What a database that cannot be used gets: an error that names what is wrong, and every byte where it was.

use std::{collections::BTreeMap, fs, path::Path, str::FromStr as _};

use pushpull::service::database::{OpenError, Settings};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::support::{Measured, settings};

async fn open(file: &Path) -> Result<Measured, OpenError> {
    Measured::open(&Settings { url: Some(format!("sqlite://{}", file.display())), ..settings() }).await
}

async fn error_of(file: &Path) -> String {
    match open(file).await {
        Ok(_) => panic!("{} was taken", file.display()),
        Err(error) => error.to_string(),
    }
}

/// Runs SQL on a file of somebody else's.
async fn somebody_else(file: &Path, statements: &[&'static str]) {
    let options = SqliteConnectOptions::from_str(&format!("sqlite://{}", file.display())).unwrap();
    let mut connection = options.create_if_missing(true).connect().await.unwrap();
    for statement in statements {
        connection.execute(*statement).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// Every file of a folder, with what is in it.
fn bytes_of(folder: &TempDir) -> BTreeMap<String, Vec<u8>> {
    let files = folder.path().read_dir().unwrap().map(|entry| entry.unwrap());
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

const OURS: &str =
    "CREATE TABLE reading (id INTEGER PRIMARY KEY, sensor INTEGER NOT NULL, value REAL NOT NULL)";

#[tokio::test]
async fn a_foreign_schema_is_named_and_stays_as_it_is() {
    let cases: [(&[&'static str], &str); 8] = [
        (
            &["CREATE TABLE reading (meter TEXT, at INTEGER)", "INSERT INTO reading VALUES ('a', 1)"],
            "there is a table (meter TEXT, at INTEGER) where it would be a table (id INTEGER, sensor INTEGER, \
             value REAL)",
        ),
        (&["CREATE TABLE Reading (x)"], "there is a table (x )"),
        (&["CREATE VIEW reading AS SELECT 1 AS id, 2 AS sensor, 3.0 AS value"], "there is a view (id"),
        (&["CREATE TABLE reading (\"a\nb\" TEXT)"], "there is a table (a\\nb TEXT)"),
        (
            &[OURS, "INSERT INTO reading VALUES (1, 1, 1.0)"],
            "0 of its 1 rows are the program's, which has 2000",
        ),
        (
            // One row is another one.
            &[
                OURS,
                "WITH RECURSIVE number(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number WHERE n < 2000) \
                 INSERT INTO reading SELECT n, n % 7, (n * 7919 % 1000) / 10.0 FROM number",
                "UPDATE reading SET value = 0.05 WHERE id = 1234",
            ],
            "1999 of its 2000 rows are the program's",
        ),
        (
            &[
                OURS,
                "WITH RECURSIVE number(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number WHERE n < 2001) \
                 INSERT INTO reading SELECT n, n % 7, (n * 7919 % 1000) / 10.0 FROM number",
            ],
            "of its 2000+ rows are the program's",
        ),
        (
            &["PRAGMA journal_mode = WAL", "CREATE TABLE reading (x)", "INSERT INTO reading VALUES (1)"],
            "there is a table (x )",
        ),
    ];
    for (statements, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("theirs.db");
        somebody_else(&file, statements).await;
        let before = bytes_of(&folder);
        let message = error_of(&file).await;
        assert!(message.contains("its table \"reading\" is not this program's"), "{message}");
        assert!(message.contains(expected), "{message}");
        assert_eq!(bytes_of(&folder), before, "{statements:?}");
    }
}

/// Someone else's changes that are still in a write-ahead log stay there.
#[tokio::test]
async fn a_foreign_log_is_not_moved_into_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = folder.path().join("live.db");
    let options = SqliteConnectOptions::from_str(&format!("sqlite://{}", theirs.display())).unwrap();
    let mut connection = options.create_if_missing(true).connect().await.unwrap();
    connection.execute("PRAGMA journal_mode = WAL").await.unwrap();
    connection.execute("CREATE TABLE reading (x)").await.unwrap();
    // As a process leaves it that was killed.
    let killed = tempfile::tempdir().unwrap();
    for name in ["live.db", "live.db-wal"] {
        fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
    }
    assert!(fs::metadata(killed.path().join("live.db-wal")).unwrap().len() > 0);
    let before = bytes_of(&killed);
    let message = error_of(&killed.path().join("live.db")).await;
    assert!(message.contains("there is a table (x )"), "{message}");
    let after = bytes_of(&killed);
    assert_eq!((&after["live.db"], &after["live.db-wal"]), (&before["live.db"], &before["live.db-wal"]));
}

#[tokio::test]
async fn what_is_no_usable_database_is_named_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    fs::write(&text, "This is a text, and no database, however one looks at it.\n".repeat(20)).unwrap();
    // A database whose pages are damaged behind the first.
    let damaged = folder.path().join("damaged.db");
    drop(open(&damaged).await.unwrap());
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[4_096..].fill(0xa5);
    fs::write(&damaged, bytes).unwrap();
    let cut = folder.path().join("cut.db");
    drop(open(&cut).await.unwrap());
    fs::File::options().write(true).open(&cut).unwrap().set_len(10_000).unwrap();

    let before = bytes_of(&folder);
    for (path, expected) in [
        (text.as_path(), "file is not a database"),
        (&damaged, "database disk image is malformed"),
        (&cut, "database disk image is malformed"),
        (folder.path(), "unable to open database file"),
        (&folder.path().join("missing/folder.db"), "unable to open database file"),
    ] {
        let message = error_of(path).await;
        assert!(
            message.starts_with("failed to open the database: ") && message.contains(expected),
            "{message}"
        );
    }
    assert_eq!(bytes_of(&folder), before);
}

#[tokio::test]
async fn a_file_that_may_only_be_read_is_used_if_it_is_complete_and_else_named() {
    let folder = tempfile::tempdir().unwrap();
    let [complete, empty] = ["complete.db", "empty.db"].map(|name| folder.path().join(name));
    drop(open(&complete).await.unwrap());
    somebody_else(&empty, &["CREATE TABLE other (x)"]).await;
    let before = bytes_of(&folder);
    let read_only =
        |file: &Path| Settings { url: Some(format!("sqlite://{}?mode=ro", file.display())), ..settings() };
    let measured = Measured::open(&read_only(&complete)).await.unwrap();
    measured.database.expensive_operation().await.unwrap();
    let Err(error) = Measured::open(&read_only(&empty)).await else { panic!("it was taken") };
    assert!(error.to_string().contains("attempt to write a readonly database"), "{error}");
    assert_eq!(bytes_of(&folder), before);
}

#[tokio::test]
async fn the_table_is_made_once_beside_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shared.db");
    somebody_else(&file, &["CREATE TABLE other (x)", "INSERT INTO other VALUES (7)"]).await;
    drop(open(&file).await.unwrap());
    let first = bytes_of(&folder);
    drop(open(&file).await.unwrap());
    assert_eq!(bytes_of(&folder), first, "the second start changes nothing");

    let options = SqliteConnectOptions::from_str(&format!("sqlite://{}", file.display())).unwrap();
    let mut connection = options.connect().await.unwrap();
    for (query, expected) in [
        ("SELECT count(*) FROM reading", 2_000_i64),
        ("SELECT count(DISTINCT sensor) FROM reading", 7),
        ("SELECT x FROM other", 7),
    ] {
        let found: i64 = connection.fetch_one(query).await.unwrap().get(0);
        assert_eq!(found, expected, "{query}");
    }
    // An empty table that is ours by its columns is what an earlier start may have left; it is filled.
    connection.execute("DELETE FROM reading").await.unwrap();
    open(&file).await.unwrap().database.expensive_operation().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_that_start_at_once_make_one_table() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("contended.db");
    let starts = [(); 8].map(|()| {
        let file = file.clone();
        tokio::spawn(async move { open(&file).await })
    });
    for start in starts {
        let measured = start.await.unwrap().unwrap();
        assert_eq!(measured.database.expensive_operation().await.unwrap(), 8_570);
    }
}

/// Damage at run time is an error for as long as it is there.
#[tokio::test]
async fn damage_at_run_time_is_told_and_gone_when_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kept.db");
    let measured = open(&file).await.unwrap();
    measured.database.expensive_operation().await.unwrap();
    let good = fs::read(&file).unwrap();
    // The header's counter of changes, so that the connection does not trust what it has read before, and the rows.
    let mut bad = good.clone();
    bad[24..28].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
    bad[4_096..].fill(0xa5);
    fs::write(&file, &bad).unwrap();
    for _ in 0..3 {
        let error = measured.database.expensive_operation().await.unwrap_err();
        assert_eq!(
            (error.kind().as_ref(), error.status_code().as_deref()),
            ("SQLITE_CORRUPT", Some("SQLITE_CORRUPT"))
        );
    }
    let failed = measured.points("db.client.operation.duration");
    let failed: Vec<_> = failed.iter().filter(|point| point.attribute("error.type").is_some()).collect();
    let [failed] = &failed[..] else { panic!("not one: {failed:?}") };
    assert_eq!((failed.count, failed.attribute("db.response.status_code")), (3, Some("SQLITE_CORRUPT")));
    fs::write(&file, &good).unwrap();
    measured.database.expensive_operation().await.unwrap();
    measured.rests().await;
}

#[test]
fn settings_do_not_show_the_url() {
    let settings = Settings { url: Some("postgres://user:secret@db/app".to_owned()), ..settings() };
    assert!(!format!("{settings:?}").contains("secret"));
}
