"""When the policy of a certificate renews it: its lifetime actions, by the dates of the latest version.

Source: https://learn.microsoft.com/azure/key-vault/certificates/about-certificates#certificate-policy. The local vault
sends no mail, so the action EmailContacts does nothing.
"""

from emulator.vault.policy import AUTO_RENEW, Policy

DAY = 86400


def due(policy: Policy, *, starts: float, ends: float) -> float | None:
    """Return the moment at which a version with these dates is renewed, or None if the policy renews nothing.

    Args:
        policy: of the certificate; only the vault's own issuer can renew.
        starts: of the version's validity; all moments are in epoch seconds.
        ends: of the version's validity.
    """
    if policy.issuer != "Self":
        return None
    moments = [
        _moment(trigger, starts=starts, ends=ends)
        for action in policy.lifetime_actions
        for trigger, kind in [(action["trigger"], action["action"])]
        if kind == AUTO_RENEW
    ]
    return min(moments, default=None)


def _moment(trigger: object, *, starts: float, ends: float) -> float:
    match trigger:
        case {"days_before_expiry": int(days)}:
            return ends - days * DAY
        case {"lifetime_percentage": int(percentage)}:
            return starts + (ends - starts) * percentage / 100
    raise ValueError(f"a lifetime action without a trigger: {trigger}")
