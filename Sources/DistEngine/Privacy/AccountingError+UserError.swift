import PrivacyAccounting

extension AccountingError: UserError {}
