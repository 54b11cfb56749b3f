//! Directory trees for tests: one with everything that is hard to keep, and a comparison that forgets nothing.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chownat, lgetxattr, llistxattr,
    lsetxattr, makedev, mknodat, utimensat,
};

/// Compares two trees: names, types, modes, owners, modification times, link targets, device numbers, which names are
/// hard links of one another, extended attributes, content. Returns one line per difference, in order of path; none if
/// the trees are equal. The roots themselves are compared as well.
///
/// # Errors
/// What cannot be read.
pub fn diff(a: impl AsRef<Path>, b: impl AsRef<Path>) -> io::Result<Vec<String>> {
    let mut differences = Vec::new();
    let mut inodes = Inodes::default();
    compare(a.as_ref(), b.as_ref(), Path::new(""), &mut inodes, &mut differences)?;
    Ok(differences)
}

/// Which file of one tree is which of the other, both ways. Links from outside a tree do not count.
#[derive(Default)]
struct Inodes {
    there: HashMap<(u64, u64), (u64, u64)>,
    back: HashMap<(u64, u64), (u64, u64)>,
}

fn compare(a: &Path, b: &Path, path: &Path, inodes: &mut Inodes, out: &mut Vec<String>) -> io::Result<()> {
    let (left, right) = (a.join(path), b.join(path));
    let (m, n) = (fs::symlink_metadata(&left)?, fs::symlink_metadata(&right)?);
    let mut check = |what: &str, left: String, right: String| {
        if left != right {
            out.push(format!("{path:?}: {what} {left} and {right}"));
        }
    };
    check("type", kind(&m).to_owned(), kind(&n).to_owned());
    check("mode", format!("{:o}", m.mode() & 0o7777), format!("{:o}", n.mode() & 0o7777));
    check("owner", format!("{}:{}", m.uid(), m.gid()), format!("{}:{}", n.uid(), n.gid()));
    check("time", format!("{}.{:09}", m.mtime(), m.mtime_nsec()), format!("{}.{:09}", n.mtime(), n.mtime_nsec()));
    check("device", m.rdev().to_string(), n.rdev().to_string());
    check("attributes", format!("{:?}", attributes(&left)?), format!("{:?}", attributes(&right)?));
    if kind(&m) != kind(&n) {
        return Ok(());
    }
    if !m.is_dir() {
        let (left, right) = ((m.dev(), m.ino()), (n.dev(), n.ino()));
        let there = *inodes.there.entry(left).or_insert(right) == right;
        let back = *inodes.back.entry(right).or_insert(left) == left;
        check("hard link to the same file", "true".to_owned(), (there && back).to_string());
    }
    if m.is_symlink() {
        check("target", format!("{:?}", fs::read_link(&left)?), format!("{:?}", fs::read_link(&right)?));
    } else if m.is_file() {
        check("length", m.len().to_string(), n.len().to_string());
        if m.len() == n.len()
            && let Some(at) = first_difference(&left, &right, m.len())?
        {
            out.push(format!("{path:?}: content from byte {at} on"));
        }
    } else if m.is_dir() {
        let (left, right) = (names(&left)?, names(&right)?);
        for name in left.iter().filter(|name| !right.contains(*name)) {
            out.push(format!("{:?}: only in the first", path.join(name)));
        }
        for name in right.iter().filter(|name| !left.contains(*name)) {
            out.push(format!("{:?}: only in the second", path.join(name)));
        }
        for name in left.iter().filter(|name| right.contains(*name)) {
            compare(a, b, &path.join(name), inodes, out)?;
        }
    }
    Ok(())
}

fn kind(m: &Metadata) -> &'static str {
    let t = m.file_type();
    match () {
        () if t.is_file() => "file",
        () if t.is_dir() => "directory",
        () if t.is_symlink() => "symbolic link",
        () if t.is_fifo() => "FIFO",
        () if t.is_socket() => "socket",
        () if t.is_char_device() => "character device",
        () => "block device",
    }
}

fn names(path: &Path) -> io::Result<std::collections::BTreeSet<std::ffi::OsString>> {
    fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
}

fn attributes(path: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut list = vec![0; 65_536];
    let length = match llistxattr(path, &mut list[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut all = BTreeMap::new();
    for name in list[..length].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 65_536];
        let length = lgetxattr(path, name, &mut value[..])?;
        value.truncate(length);
        all.insert(PathBuf::from(std::ffi::OsString::from_vec(name.to_vec())), value);
    }
    Ok(all)
}

/// Where two files of one length differ. Holes that both have are not read.
fn first_difference(a: &Path, b: &Path, length: u64) -> io::Result<Option<u64>> {
    let (a, b) = (File::open(a)?, File::open(b)?);
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    loop {
        at = next_data(&a, at, length)?.min(next_data(&b, at, length)?);
        let piece = usize::try_from(length - at).unwrap_or(usize::MAX).min(left.len());
        if piece == 0 {
            return Ok(None);
        }
        let (left, right) = (&mut left[..piece], &mut right[..piece]);
        a.read_exact_at(left, at)?;
        b.read_exact_at(right, at)?;
        if left != right {
            let same = left.iter().zip(right.iter()).take_while(|(x, y)| x == y).count();
            return Ok(Some(at + same as u64));
        }
        at += piece as u64;
    }
}

fn next_data(file: &File, at: u64, length: u64) -> io::Result<u64> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
        Ok(data) => Ok(data),
        Err(rustix::io::Errno::NXIO) => Ok(length),
        // The file system does not tell.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => Ok(at),
        Err(error) => Err(error.into()),
    }
}

/// Gives the owner back the right to remove everything below `root`, which read-only directories take away.
///
/// # Errors
/// What cannot be read or changed.
pub fn make_removable(root: impl AsRef<Path>) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700))?;
            make_removable(entry.path())?;
        }
    }
    Ok(())
}

/// Makes a tree at `root`, which must not exist: odd names, names that are not UTF-8, long paths and link targets, a deep
/// directory, hard links to all kinds of entries, sparse files, FIFOs, odd modes and times, extended attributes, an ACL;
/// for the super-user also devices, foreign owners, set-user-ID files, files that nobody may read and a capability.
///
/// # Errors
/// What the file system refuses.
pub fn awkward(root: impl AsRef<Path>) -> io::Result<()> {
    let root = root.as_ref();
    fs::create_dir(root)?;
    odd_names(root)?;
    long_paths(root)?;
    links(root)?;
    sparse_files(root)?;
    attributes_and_modes(root)?;
    if rustix::process::geteuid().is_root() {
        only_the_super_user(root)?;
    }
    // Last, because making entries changes it.
    times(root)
}

fn odd_names(root: &Path) -> io::Result<()> {
    let dir = root.join("names");
    fs::create_dir(&dir)?;
    for name in [
        &b"plain"[..],
        b" leading space",
        b"trailing space ",
        b"new\nline",
        b"tab\t",
        b"back\\slash",
        b"\"quotes'",
        b"*?[glob]{a,b}",
        b"-rf",
        b"~",
        b"...",
        b".hidden",
        b"%2F",
        b"=",
        b"\x01\x7f",
        b"#",
        "gr\u{fc}n \u{65e5}\u{672c} \u{1f9f6}".as_bytes(),
        "e\u{301}".as_bytes(),
        "\u{e9}".as_bytes(),
        b"not utf-8 \xff\xfe",
        b"\xc3",
        b"PaxHeaders.0",
        b"@LongLink",
    ] {
        fs::write(dir.join(std::ffi::OsStr::from_bytes(name)), name)?;
    }
    fs::write(dir.join(std::ffi::OsStr::from_bytes(&[0xe9; 255])), b"255 bytes")?;
    for length in [99, 100, 101, 155, 156, 255] {
        fs::write(dir.join("n".repeat(length)), length.to_string())?;
        symlink("t".repeat(length), dir.join(format!("link of {length}")))?;
    }
    Ok(())
}

fn long_paths(root: &Path) -> io::Result<()> {
    let mut deep = root.join("long");
    while deep.as_os_str().len() < root.as_os_str().len() + 1_000 {
        deep.push("p".repeat(49));
    }
    fs::create_dir_all(&deep)?;
    fs::write(deep.join("file"), b"1,000 characters down")?;
    symlink(format!("/{}", "x/".repeat(2_000)), deep.join("link of 4,001"))?;
    fs::hard_link(deep.join("file"), root.join("long/link to the deep file"))?;
    let mut deep = root.join("deep");
    for _ in 0..150 {
        deep.push("d");
    }
    fs::create_dir_all(&deep)?;
    fs::write(deep.join("bottom"), b"")
}

fn links(root: &Path) -> io::Result<()> {
    let dir = root.join("links");
    fs::create_dir(&dir)?;
    fs::write(dir.join("a"), b"three names")?;
    fs::hard_link(dir.join("a"), dir.join("b"))?;
    fs::create_dir(dir.join("below"))?;
    fs::hard_link(dir.join("a"), dir.join("below/c"))?;
    symlink("a", dir.join("to a"))?;
    symlink("nowhere", dir.join("dangling"))?;
    symlink("/etc", dir.join("out"))?;
    symlink("..", dir.join("up"))?;
    symlink(std::ffi::OsStr::from_bytes(b"\xff"), dir.join("not utf-8"))?;
    fs::hard_link(dir.join("to a"), dir.join("to a again"))?;
    mknodat(CWD, dir.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0)?;
    fs::hard_link(dir.join("fifo"), dir.join("fifo again"))
}

fn sparse_files(root: &Path) -> io::Result<()> {
    let dir = root.join("sparse");
    fs::create_dir(&dir)?;
    for (name, length, pieces) in [
        ("only a hole", 3 << 20, &[][..]),
        ("hole first", (1 << 20) + 10, &[1 << 20][..]),
        ("hole last", 5 << 20, &[0][..]),
        ("both", 9 << 20, &[1 << 20, 3 << 20, 7 << 20][..]),
        ("far", 20 << 30, &[4096, 9 << 30][..]),
    ] {
        let mut file = File::create(dir.join(name))?;
        for piece in pieces {
            file.seek(SeekFrom::Start(*piece))?;
            file.write_all(name.as_bytes())?;
        }
        file.set_len(length)?;
    }
    fs::write(dir.join("zeros that are no hole"), vec![0; 100_000])?;
    fs::write(dir.join("empty"), b"")
}

fn attributes_and_modes(root: &Path) -> io::Result<()> {
    let dir = root.join("attributes");
    fs::create_dir(&dir)?;
    for mode in [0o400, 0o644, 0o755, 0o777] {
        let path = dir.join(format!("{mode:o}"));
        fs::write(&path, b"mode")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    fs::create_dir(dir.join("read only"))?;
    fs::write(dir.join("read only/file"), b"in it")?;
    fs::write(dir.join("attributes"), b"file")?;
    let set = |path: &Path, name: &str, value: &[u8]| lsetxattr(path, name, value, XattrFlags::empty());
    fs::create_dir(dir.join("with attributes"))?;
    for path in [dir.join("attributes"), dir.join("with attributes")] {
        set(&path, "user.text", b"value")?;
        set(&path, "user.empty", b"")?;
        set(&path, "user.bytes", b"\0\n\xff= %")?;
        set(&path, "user.a=b%3D", b"odd name")?;
        set(&path, "user.long", &[b'v'; 1_500])?;
    }
    let user = rustix::process::geteuid().as_raw();
    set(&dir.join("attributes"), "system.posix_acl_access", &acl(user))?;
    set(&dir.join("with attributes"), "system.posix_acl_default", &acl(user))?;
    fs::set_permissions(dir.join("read only"), fs::Permissions::from_mode(0o555))?;
    fs::create_dir(dir.join("sticky"))?;
    fs::set_permissions(dir.join("sticky"), fs::Permissions::from_mode(0o1777))
}

/// An ACL in the kernel's form: the owner rw, `user` r, the group r, mask r, others nothing.
fn acl(user: u32) -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let mut out = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in
        [(1_u16, 6_u16, NOBODY), (2, 4, user), (4, 4, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY)]
    {
        out.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
        out.extend(id.to_le_bytes());
    }
    out
}

fn only_the_super_user(root: &Path) -> io::Result<()> {
    let dir = root.join("super-user");
    fs::create_dir(&dir)?;
    mknodat(CWD, dir.join("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3))?;
    mknodat(CWD, dir.join("block"), FileType::BlockDevice, Mode::from_raw_mode(0o600), makedev(259, 70_000))?;
    for (name, id) in [("user 1234", 1234), ("user 3,000,000", 3_000_000)] {
        let path = dir.join(name);
        fs::write(&path, name)?;
        symlink(name, dir.join(format!("link of {name}")))?;
        for path in [path, dir.join(format!("link of {name}"))] {
            chownat(CWD, path, Some(Uid::from_raw(id)), Some(Gid::from_raw(id + 1)), AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    fs::set_permissions(dir.join("user 1234"), fs::Permissions::from_mode(0o6755))?;
    fs::set_permissions(dir.join("user 3,000,000"), fs::Permissions::from_mode(0o000))?;
    fs::write(dir.join("capable"), b"#!")?;
    // Revision 2, effective: CAP_NET_RAW.
    let capability = [0x0200_0001_u32, 1 << 13, 0, 0, 0].map(u32::to_le_bytes).concat();
    lsetxattr(dir.join("capable"), "security.capability", &capability, XattrFlags::empty())?;
    lsetxattr(dir.join("capable"), "trusted.mark", b"t", XattrFlags::empty())?;
    Ok(())
}

fn times(root: &Path) -> io::Result<()> {
    for (path, seconds, nanos) in [
        ("names/plain", -1, 250_000_000),
        ("names/...", 0, 1),
        ("names/-rf", 20_000_000_000, 999_999_999),
        ("names", 1_000_000_000, 0),
        ("attributes/read only", 1_234_567_890, 123_456_789),
        ("links/to a", 1_111_111_111, 111_111_111),
        ("links/fifo", 1_222_222_222, 222_222_222),
        ("deep/d/d", 1_333_333_333, 333_333_333),
        ("", 1_444_444_444, 444_444_444),
    ] {
        let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, root.join(path), &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}
