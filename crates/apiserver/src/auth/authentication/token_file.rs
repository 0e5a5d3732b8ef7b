//! Tokens that are simply known: `token,user,uid,"group1,group2"`, one per line.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::Error;
use crate::identity::UserInfo;

/// Known tokens. They are kept and looked up as digests, so that neither memory nor timing tells a token.
#[derive(Default)]
pub struct StaticTokens(HashMap<[u8; 32], UserInfo>);

impl StaticTokens {
    /// Reads the lines of a token file. Lines without text are skipped.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut tokens = Self::default();
        for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let refused = |why| Error::TokenFile { line: i + 1, why };
            let columns = columns(line).ok_or_else(|| refused("a quote is not closed"))?;
            let [token, name, uid, rest @ ..] = columns.as_slice() else {
                return Err(refused("it needs at least 3 columns: token, user name and user uid"));
            };
            if token.is_empty() {
                return Err(refused("the token is empty"));
            }
            let groups = rest.first().into_iter().flat_map(|g| g.split(',')).map(str::trim).filter(|g| !g.is_empty());
            let user =
                UserInfo { name: name.clone(), uid: uid.clone(), groups: groups.map(str::to_owned).collect(), ..UserInfo::default() };
            tokens.add(token, user);
        }
        Ok(tokens)
    }

    /// Makes a token known.
    pub fn add(&mut self, token: &str, user: UserInfo) {
        self.0.insert(Sha256::digest(token).into(), user);
    }

    pub(super) fn user(&self, token: &str) -> Option<UserInfo> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get::<[u8; 32]>(&Sha256::digest(token).into()).cloned()
    }
}

fn columns(line: &str) -> Option<Vec<String>> {
    let mut out = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                out.last_mut()?.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => out.push(String::new()),
            c => out.last_mut()?.push(c),
        }
    }
    (!quoted).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_users() {
        let tokens = StaticTokens::parse("abc,admin,1,\"system:masters, ops\"\n\nxyz,bob,2\n").unwrap();
        let admin = tokens.user("abc").unwrap();
        assert_eq!((admin.name.as_str(), admin.uid.as_str()), ("admin", "1"));
        assert_eq!(admin.groups, ["system:masters", "ops"]);
        assert_eq!(tokens.user("xyz").unwrap().groups, [""; 0]);
        assert_eq!(tokens.user("nope"), None);
        for (text, line) in [("a,b", 1), ("a,b,c\n,b,c", 2), ("a,b,c,\"d", 1)] {
            let error = StaticTokens::parse(text).err().unwrap();
            assert!(matches!(error, Error::TokenFile { line: l, .. } if l == line), "{error}");
        }
    }
}
