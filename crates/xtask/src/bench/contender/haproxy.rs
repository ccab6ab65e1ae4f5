//! HAProxy as a reverse proxy that does the work ours does.

use std::process::Command;

use super::{Site, WORKERS, write};
use crate::bench::setup::Setup;
use crate::programs;

pub(super) fn command(site: &Site<'_>) -> Result<Command, String> {
    let haproxy = programs::find("haproxy").ok_or("HAProxy is not installed")?;
    let file = site.dir.join("haproxy.cfg");
    write(&file, &configuration(site))?;
    let mut command = Command::new(haproxy);
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}

fn configuration(site: &Site<'_>) -> String {
    let servers: String = site
        .origins
        .addresses
        .iter()
        .enumerate()
        .map(|(number, origin)| format!("    server origin{number} {origin}\n"))
        .collect();
    let address = site.address;
    let second = match site.setup {
        Setup::Tls => format!(
            "    bind {} ssl crt {} alpn h2,http/1.1 ssl-min-ver TLSv1.3\n",
            site.second,
            site.dir.join("both.pem").display()
        ),
        Setup::Grpc => format!(
            "    bind {} proto h2\n    use_backend grpc if {{ path_beg /bench.Echo/ }}\n",
            site.second
        ),
        _ => String::new(),
    };
    let grpc = match site.setup {
        Setup::Grpc => {
            let servers = site.origins.grpc.iter().enumerate();
            let servers =
                servers.map(|(number, origin)| format!("    server grpc{number} {origin} proto h2\n"));
            format!(
                "backend grpc\n    balance roundrobin\n{}",
                servers.collect::<String>()
            )
        }
        _ => String::new(),
    };
    format!(
        r#"global
    nbthread {WORKERS}
    maxconn 8000
defaults
    mode http
    timeout connect 60s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend all
    bind {address}
{second}    unique-id-format %[uuid()]
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header X-Forwarded-Port %[dst_port]
    http-request set-header X-Forwarded-Path %[pathq]
    http-request set-header X-Real-IP %[src]
    http-request add-header Via "1.1 haproxy"
    http-request set-header X-Kong-Request-Id %[unique-id]
    http-response add-header Via "1.1 haproxy"
    http-response set-header X-Kong-Request-Id %[unique-id]
    http-response set-header X-Kong-Upstream-Latency %Tr
    http-response set-header X-Kong-Proxy-Latency %Ti
    default_backend origin
backend origin
    balance roundrobin
{servers}{grpc}"#
    )
}
