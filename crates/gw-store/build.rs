//! Compiles the part of etcd's protocol that is used, without any program beside cargo.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/etcd.proto");
    #[cfg(feature = "etcd")]
    {
        let files = protox::compile(["proto/etcd.proto"], ["proto"])?;
        tonic_prost_build::configure()
            .build_server(false)
            .build_transport(false)
            .bytes(".")
            .compile_fds(files)?;
    }
    Ok(())
}
