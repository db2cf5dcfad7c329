//! Files in memory are as they are on the disk.

use super::*;

#[tokio::test]
async fn memory_is_never_stale() {
    let site = Site::new();
    let names = ["in-place", "renamed-over", "set-back", "swapped", "removed", "longer", "linked", "closed"];
    for name in names {
        site.write(name, "old");
    }
    let other = site.outside("other");
    fs::write(&other, "new").unwrap();
    let tree = site.tree();
    for name in names {
        remember(&tree, &format!("/{name}")).await;
    }
    // Once more in a row, so that all of them are in memory at the same time.
    for name in names {
        remember(&tree, &format!("/{name}")).await;
    }
    let time = fs::metadata(site.path("set-back")).unwrap().modified().unwrap();
    for name in ["in-place", "set-back"] {
        assert_eq!(get(&tree, &format!("/{name}")).await.unwrap().text(), "old");
        fs::write(site.path(name), "new").unwrap();
    }
    fs::File::options().write(true).open(site.path("set-back")).unwrap().set_modified(time).unwrap();
    fs::write(site.path("temporary"), "new").unwrap();
    fs::rename(site.path("temporary"), site.path("renamed-over")).unwrap();
    fs::write(site.path("twin"), "new").unwrap();
    exchange(&site.path("twin"), &site.path("swapped"));
    fs::remove_file(site.path("removed")).unwrap();
    fs::write(site.path("longer"), "new and longer").unwrap();
    fs::remove_file(site.path("linked")).unwrap();
    symlink(&other, site.path("linked")).unwrap();
    for name in ["in-place", "set-back", "renamed-over", "swapped", "linked"] {
        assert_eq!(get(&tree, &format!("/{name}")).await.unwrap().text(), "new", "{name}");
    }
    assert_eq!(get(&tree, "/longer").await.unwrap().text(), "new and longer");
    assert_eq!(status(&tree, "/removed").await, 404);
}

#[tokio::test]
async fn a_fresh_file_is_not_kept() {
    let site = Site::new();
    let tree = site.tree();
    for round in 0..200 {
        let text = format!("{round:03}");
        site.write("a", &text);
        let answered = get(&tree, "/a").await.unwrap();
        assert_eq!(answered.text(), text);
        assert!(answered.field(ETAG).starts_with("W/"));
    }
}

#[tokio::test]
async fn the_fields_are_kept_without_the_octets() {
    let site = Site::new();
    let path = site.write("a", "old");
    let tree = site.tree();
    settle(&path).await;
    let name = tree.name(&[b"a"]).unwrap();
    for fields in [&[(IF_NONE_MATCH, "*")][..], &[]] {
        for method in [Method::HEAD, Method::GET] {
            let answered = ask(&tree, method.clone(), "/a", fields).await.unwrap();
            assert_eq!(answered.status, if fields.is_empty() { 200 } else { 304 });
            assert_eq!(answered.text(), if fields.is_empty() && method == Method::GET { "old" } else { "" });
            assert!(tree.remembered(&name).is_some());
        }
    }
    fs::write(&path, "changed").unwrap();
    assert_eq!(ask(&tree, Method::HEAD, "/a", &[]).await.unwrap().field(CONTENT_LENGTH), "7");
}
