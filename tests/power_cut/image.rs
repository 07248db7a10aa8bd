//! A power cut on a real file system: the writer works on an ext4 in an image, is stopped in the middle of its work, the image
//! is copied as it stands, and the copy is mounted, journal and all, as after a cut.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Figures, Load, WriterProgram, check, read_acknowledgement};

/// Small, so that copying it takes a moment; a load of 10 MB entries fits twice.
const IMAGE_BYTES: u64 = 192 << 20;

/// How often an image is copied again because it changed meanwhile.
const COPIES_AT_MOST: u32 = 100;

/// A mounted image; unmounted when dropped.
#[derive(Debug)]
struct Mounted(PathBuf);

impl Mounted {
    fn new(image: &Path, at: &Path) -> Self {
        std::fs::create_dir_all(at).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-o", "loop"])
            .args([image, at])
            .status()
            .expect("`mount`");
        assert!(
            mounted.success(),
            "cannot mount an image: this needs root and loop devices"
        );
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The loop device may be busy for a moment after the last file was closed.
        for _ in 0..50 {
            if Command::new("umount")
                .arg(&self.0)
                .status()
                .is_ok_and(|status| status.success())
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Lets a load be written to a file system of its own, again and again, and takes `images` copies of it at random moments.
pub(crate) fn cut_on_images(program: &WriterProgram, load: Load, images: u64, seed: u64) -> Figures {
    let folder = tempfile::Builder::new()
        .prefix("hem-power-")
        .tempdir()
        .expect("a folder");
    let mut rng = fastrand::Rng::with_seed(seed);
    let (image, copy) = (folder.path().join("disk.img"), folder.path().join("copy.img"));
    make_file_system(&image);
    let disk = Mounted::new(&image, &folder.path().join("disk"));
    let mut figures = Figures::default();
    let mut life = 0;
    while figures.disks < images {
        life += 1;
        let below = disk.0.join(life.to_string());
        std::fs::create_dir(&below).expect("a folder");
        let mut writer = Writing::start(program, load, &below);
        while figures.disks < images && writer.stop_after(Duration::from_micros(rng.u64(0..60_000))) {
            figures.moments += 1;
            let said = std::fs::read(below.join("acknowledged")).unwrap_or_default();
            copy_as_it_stands(&image, &copy);
            writer.go_on();
            figures.disks += 1;
            let place = format!("{} on image {}", load.name(), figures.disks);
            look_at(
                &copy,
                folder.path(),
                &life.to_string(),
                load,
                &said,
                &place,
                &mut figures,
            );
        }
        writer.wait();
        std::fs::remove_dir_all(&below).expect("the writer's folder");
    }
    figures
}

fn make_file_system(image: &Path) {
    let file = File::create(image).expect("a file");
    file.set_len(IMAGE_BYTES).expect("a sparse file");
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image).status();
    assert!(
        made.is_ok_and(|status| status.success()),
        "mkfs.ext4 failed: install e2fsprogs"
    );
}

/// Opens the store of a copied image, as the machine would after the cut.
fn look_at(
    copy: &Path,
    folder: &Path,
    life: &str,
    load: Load,
    said: &[u8],
    place: &str,
    figures: &mut Figures,
) {
    let mounted = Mounted::new(copy, &folder.join("after"));
    let below = mounted.0.join(life);
    let acknowledged: Vec<_> = said
        .split_inclusive(|byte| *byte == b'\n')
        .filter_map(read_acknowledgement)
        .collect();
    // Before the first acknowledgement there may be no folder yet, and nothing was promised.
    if below.exists() || !acknowledged.is_empty() {
        check(&below.join("state"), load, &acknowledged, place, figures);
    }
}

/// Copies the image until two copies in a row are the same: then that is how it stood between them.
fn copy_as_it_stands(image: &Path, copy: &Path) {
    let mut former = Vec::new();
    for _ in 0..COPIES_AT_MOST {
        let mut now = Vec::new();
        File::open(image)
            .and_then(|mut file| file.read_to_end(&mut now))
            .expect("the image");
        if now == former {
            let mut file = File::create(copy).expect("a file");
            // What is zero stays a hole.
            for (index, block) in now.chunks(1 << 16).enumerate() {
                if block.iter().any(|byte| *byte != 0) {
                    file.seek(std::io::SeekFrom::Start((index as u64) << 16))
                        .expect("a place in the copy");
                    file.write_all(block).expect("room for the copy");
                }
            }
            file.set_len(IMAGE_BYTES).expect("the copy's length");
            return;
        }
        former = now;
    }
    panic!("the image does not come to rest while its writer is stopped");
}

/// The process that writes.
struct Writing(Child);

impl Writing {
    fn start(program: &WriterProgram, load: Load, below: &Path) -> Self {
        let child = Command::new(&program.path)
            .args(&program.arguments)
            .env(program.folder_variable, below)
            .env(program.load_variable, load.name())
            .stdout(Stdio::null())
            .spawn()
            .expect("the writer starts");
        Self(child)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).expect("a process id"))
    }

    /// Stops it after a while. Says whether there was still something to stop.
    fn stop_after(&mut self, while_: Duration) -> bool {
        std::thread::sleep(while_);
        if self.0.try_wait().expect("the writer").is_some() {
            return false;
        }
        kill(self.pid(), Signal::SIGSTOP).expect("a signal to the writer");
        true
    }

    fn go_on(&self) {
        kill(self.pid(), Signal::SIGCONT).expect("a signal to the writer");
    }

    fn wait(&mut self) {
        let ended = self.0.wait().expect("the writer");
        assert!(ended.success(), "the writer failed, signal {:?}", ended.signal());
    }
}
