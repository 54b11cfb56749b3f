//! The server in a process of its own, for benchmarks: `serve BUCKET` prints its environment and runs until its input ends.

use std::io::{Read as _, stdin};

use backstay_test_s3::{Bucket, Server};

fn main() {
    let bucket = std::env::args().nth(1).expect("serve BUCKET");
    let server = Server::start();
    server.create_bucket(&bucket, Bucket::unversioned().opaque_etags());
    for (name, value) in server.env() {
        println!("{name}={value}");
    }
    println!();
    // Whoever started it has gone, too, when it ends.
    let _ = stdin().read(&mut [0]);
}
