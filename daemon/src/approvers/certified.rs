//! What certificates say of a key beside the user whose it is: the principals by which a rule may name them.

use std::collections::BTreeSet;

use countersign_protocol::certificate::Certificate;
use countersign_protocol::keys::PublicKey;
use countersign_protocol::signers::{Certificates, MAX_FILE};
use countersign_protocol::sshsig::Signed;

use super::Approvers;
use crate::clock;

impl Approvers {
    /// The certificate by which this key's word, said or to be said, counts as that of one of `principal`: the one that
    /// came with the signature, or one about the key that the administrator has put here. It has to name the user, too,
    /// and the approvers have to accept its authority for both: else one person with two certified devices could be two.
    ///
    /// # Errors
    /// Why not, for the log.
    pub(crate) fn certify(
        &self,
        principal: &str,
        user: &str,
        signed: &Signed,
        at_unix: u64,
    ) -> Result<Certificate, String> {
        if principal == user {
            // Else an account of that name would be one by the certificate of its own.
            return Err(format!(
                "\"principal:{principal}\" is {user}'s own name, and nobody is a group by that"
            ));
        }
        let here = self.certificates.content(&self.log).unwrap_or_default();
        let mut refusal = String::from("there is none that names both and is in its time");
        for certificate in signed.certificate.iter().chain(here.of(&signed.key)) {
            let names = [user, principal];
            // First, since a key may have many old ones, and what follows looks at files.
            if !certificate.is_in_time(at_unix) || !names.iter().all(|name| is_named(certificate, name)) {
                continue;
            }
            let by = with(certificate);
            match names.into_iter().try_for_each(|name| self.authorize(name, &by, at_unix)) {
                Ok(()) => return Ok(certificate.clone()),
                Err(why) => refusal = why,
            }
        }
        Err(format!("no certificate of its key counts for {user} and \"principal:{principal}\": {refusal}"))
    }

    /// The principals beside the user's own name that a device's certificates make its user one of now.
    pub(crate) fn principals_of(&self, user: &str, key: &PublicKey, at_unix: u64) -> Vec<String> {
        let here = self.certificates.content(&self.log).unwrap_or_default();
        let signed = Signed { key: key.clone(), certificate: None };
        let now = |certificate: &&Certificate| certificate.is_in_time(at_unix) && is_named(certificate, user);
        let names: BTreeSet<&String> =
            here.of(key).iter().filter(now).flat_map(Certificate::principals).collect();
        let counts = |name: &&String| self.certify(name, user, &signed, at_unix).is_ok();
        names.into_iter().filter(counts).cloned().collect()
    }
}

/// What to say of a file that can still be used, before it is too long for that.
pub(super) fn fullness(certificates: &Certificates, bytes: usize) -> Option<String> {
    (bytes > MAX_FILE / 2).then(|| {
        let (lines, over) = (certificates.len(), certificates.over(clock::unix()));
        format!(
            "it has {bytes} bytes, and with more than {MAX_FILE} nobody is named by its principals any more; of its \
             {lines} certificates {over} are over: take those out"
        )
    })
}

fn is_named(certificate: &Certificate, name: &str) -> bool {
    certificate.principals().iter().any(|principal| principal == name)
}

/// As if it had come with a signature of its key.
fn with(certificate: &Certificate) -> Signed {
    Signed { key: certificate.key().clone(), certificate: Some(certificate.clone()) }
}
