//! `atoll login` and `atoll logout`.

use std::sync::Arc;

use atoll_client::{
    StaticCredential,
    docker_config::{Kept, Login as Proof},
};

use super::{
    arguments::{Login, Logout},
    failure::Failure,
    session::{credential, logins},
    terminal,
};
use crate::print_text;

pub async fn login(call: Login) -> Result<(), Failure> {
    let host = call.connection.host(call.host.as_deref())?;
    let username = match call.username {
        Some(username) => username,
        None => terminal::asked("Username: ")?,
    };
    if username.is_empty() {
        return Err(Failure::usage("a user is needed: say who with --username"));
    }
    let password =
        if call.password_stdin { terminal::password_from_stdin()? } else { terminal::password()? };
    if password.is_empty() {
        return Err(Failure::usage("the password is empty"));
    }
    let proof = Proof::Password { username, password };
    // First the registry, then the file: what does not work is not kept.
    let credentials = Arc::new(StaticCredential(credential(proof.clone())));
    call.connection.client_with(&host, credentials)?.ping().await?;
    let name = host.to_string();
    match logins().store(&name, &proof).await? {
        Kept::Helper(program) => print_text(&format!("logged in to {name}; {program} keeps it\n")),
        Kept::Plain(path) => {
            eprintln!(
                "warning: the password is kept unencrypted in {}; a credential helper keeps it \
                 safe: https://docs.docker.com/go/credential-store/",
                path.display()
            );
            print_text(&format!("logged in to {name}\n"))
        }
    }
}

pub async fn logout(call: Logout) -> Result<(), Failure> {
    let host = call.connection.host(call.host.as_deref())?.to_string();
    if logins().erase(&host).await? {
        return print_text(&format!("logged out of {host}\n"));
    }
    print_text(&format!("there was no login for {host}\n"))
}
