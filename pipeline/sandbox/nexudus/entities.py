"""The record types of the Nexudus sandbox, key by key (`nexudus-api.md` 4; key names from samples 02 to 05).

What belongs here: names, kinds, defaults, what is required, what is read-only. What does not: behaviour.
"""

from __future__ import annotations

from pipeline.sandbox.nexudus.records import BASE_READ_ONLY, Entity, fields

ATTENDANCE = " ".join(
    f"{day}Attendance=5"
    for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
)  # fmt: skip
CUSTOM = " ".join(f"Custom{number}" for number in range(1, 31))


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _read_only(text: str) -> frozenset[str]:
    return BASE_READ_ONLY | set(text.split())


COWORKERS = Entity(
    name="Coworker",
    module="spaces",
    path="coworkers",
    title="Customer",
    first_id=1_423_000_101,
    order="FullName",
    verbs=frozenset({"GET", "POST", "PUT"}),
    required=_names("FullName Email CountryId SimpleTimeZoneId"),
    required_on_update=(
        *_names("CoworkerType Gender TaxRateType"),
        *(entry.partition("=")[0] for entry in ATTENDANCE.split()),
    ),
    read_only=_read_only(
        """InvoicingBusinessName BusinessNames UserFullName UserActive UserIsAdmin UserLastAccess TariffName
        NextTariffName CoworkerContractIds CoworkerContractTariffNames TotalActiveContracts TeamIds TeamNames TeamName
        CardNumber GuessedFirstName GuessedLastName GuessedFirstNameForInvoice GuessedLastNameForInvoice HasDueInvoices
        RegistrationDate ChurnProbability EngagementLevel CheckinSinceLastRenewal MinutesSinceLastRenewal"""
    ),
    fields=fields(
        f"""
        eCoworkerType: CoworkerType=1
        eGender: Gender=1
        eTaxRateType: TaxRateType=1
        eAttendance: {ATTENDANCE}
        text: FullName Salutation Email CompanyName AccessPincode AccessCardId KeyFobNumber
        flag: Active=true Archived CreateUser IsDefaultProfile UserIsAdmin
        ref: UserId InvoicingBusinessId TariffId=0
        whole: NextTariffId=0 CountryId SimpleTimeZoneId TeamId
        text: InvoicingBusinessName BusinessNames TariffName NextTariffName TeamName TeamIds TeamNames
        list: Businesses=[] AddedBusinesses RemovedBusinesses Teams=[] AddedTeams RemovedTeams Desks=[] Variants=[]
        flag: PaperCutPayAsYouPrint PaperCutFreePrinting SyncToPaperCutDue
        flag: EzeepFreePrinting EzeepPrintingEnabled EzeepBlueFreePrinting EzeepBluePrintingEnabled
        text: PaperCutUserId EzeepUserId EzeepBlueUserId ReferenceNumber CoworkerContractIds CoworkerContractTariffNames
        flag: UserActive=null
        text: UserFullName Password AiSessionId CardNumber CurrentAccessSignature
        date: RegistrationDate StartDate RenewalDate CancellationDate NextAutoInvoice DateOfBirth UserLastAccess
        whole: TotalActiveContracts BillingDay RegularPaymentProvider=1 InvoicingOrder=0 TariffInvoiceEvery=0
        whole: TariffInvoiceEveryWeeks=0 CheckinSinceLastRenewal=0 MinutesSinceLastRenewal=0
        whole: InvoiceDueDatePeriod=0 InvoiceDueDateDay
        flag: AllowNetworkCheckin=true CanAccessCommunity=true CanBookForTeam CanMakeBookings=true
        flag: CanPurchaseEvents=true CanPurchaseProducts=true IsTeamAdministrator IsAdmin IsPublic ShowAlert
        flag: CreateSingleInvoiceForTeam DoNotProcessInvoicesAutomatically EnableGoCardlessPayments HasDueInvoices
        flag: GeneralTermsAccepted ShowPayingMemberInvoices SignUpToNewsletter=true SyncToSquare
        flag: NotifyOnNewInvoice=true NotifyOnNewPayment=true NotifyOnFailedPayment=true NotifyOnDelivery
        text: GuessedFirstName GuessedLastName GuessedFirstNameForInvoice GuessedLastNameForInvoice
        text: Address PostCode CityName State MobilePhone LandLine NickName BusinessArea Position ProfileWebsite Tags
        text: Summary Twitter Facebook Google Telegram Linkedin Skype Github Pinterest Flickr Instagram Vimeo Tumblr
        text: Blogger Tag Notes AlertNote PurchaseOrder TaxIDNumber NotifyOnDeliveriesEmail
        text: BillingEmail BillingName BillingAddress BillingPostCode BillingCityName BillingState
        whole: BillingCountryId BillingSimpleTimeZoneId
        decimal: BillingLatitude BillingLongitude TaxRate ChurnProbability
        text: EngagementLevel {CUSTOM}
        """
    ),
)

CREDITS = Entity(
    name="CoworkerExtraService",
    module="billing",
    path="coworkerextraservices",
    title="Credit",
    first_id=1_470_000_401,
    required=_names("CoworkerId BusinessId ExtraServiceId TotalUses ChargePeriod"),
    read_only=_read_only(
        """RemainingUses ExtraServiceName ExtraServiceCurrencyCode ExtraServiceIsPrintingCredit Description Invoiced
        InvoiceDate IsFromTariff TariffTimePassUniqueId CoworkerProductUniqueId BookingUniqueId CoworkerContractUniqueId
        AutomaticallyAdded DiscountCode DiscountAmount CoworkerDiscountUniqueId BookingId BookingFromTime BookingToTime
        BookingResourceName LastMinutePriceAdjustment DynamicPriceAdjustment PriceFactorLastMinute PriceFactorDemand"""
    ),
    fields=fields(
        """
        ref: CoworkerId=0 BusinessId=0 ExtraServiceId=0
        text: ExtraServiceName ExtraServiceCurrencyCode
        flag: ExtraServiceIsPrintingCredit
        text: Description Notes
        whole: TotalUses=0 RemainingUses=0
        flag: Free
        decimal: Price=0.0
        date: ValidFrom ExpireDate DueDate
        text: PurchaseOrder
        eChargePeriod: ChargePeriod=5
        flag: Invoiced
        date: InvoiceDate
        flag: InvoiceThisCoworker IsFromTariff AutomaticallyAdded
        text: TariffTimePassUniqueId CoworkerProductUniqueId BookingUniqueId CoworkerContractUniqueId
        text: DiscountCode CoworkerDiscountUniqueId BookingResourceName
        whole: BookingId
        date: BookingFromTime BookingToTime
        decimal: DiscountAmount LastMinutePriceAdjustment DynamicPriceAdjustment PriceFactorLastMinute PriceFactorDemand
        """
    ),
)

EXTRA_SERVICES = Entity(
    name="ExtraService",
    module="billing",
    path="extraservices",
    title="Resource Rate",
    first_id=1_415_000_031,
    required=_names("BusinessId Name DisplayOrder Price ChargePeriod CurrencyId LastMinuteAdjustmentType"),
    read_only=_read_only("ResourceTypeNames CurrencyCode"),
    fields=fields(
        """
        ref: BusinessId=0
        text: Name Description InvoiceLineDisplayAs ResourceTypeNames CurrencyCode
        flag: Visible=true IsDefaultPrice UsePerNightPricing OnlyWithinAvailableTimes OnlyForContacts OnlyForMembers
        flag: IsBookingCredit IsPrintingCredit ApplyChargeToVisitors
        whole: DisplayOrder=0 CurrencyId=0 TaxRateId ReducedTaxRateId ExemptTaxRateId FinancialAccountId
        whole: FromTime ToTime MinLength MaxLength FixedCostLength LastMinutePeriodMinutes
        list: ResourceTypes=[] AddedResourceTypes RemovedResourceTypes Tariffs=[] AddedTariffs RemovedTariffs
        list: Teams=[] AddedTeams RemovedTeams
        price: Price=0.00000
        decimal: CreditPrice MaximumPrice FixedCostPrice
        decimal: PriceFactorLowDemand PriceFactorAverageDemand PriceFactorHighDemand PriceFactorLastMinute
        eChargePeriod: ChargePeriod=5
        eLastMinuteAdjustmentType: LastMinuteAdjustmentType=1
        date: ApplyFrom ApplyTo
        """
    ),
)

PRODUCTS = Entity(
    name="Product",
    module="billing",
    path="products",
    title="Product",
    first_id=1_450_000_021,
    required=_names("BusinessId Name SystemProductType Description DisplayOrder Price CurrencyId AvailableAs"),
    read_only=_read_only("BusinessName CurrencyCode ImageFileName"),
    fields=fields(
        """
        ref: BusinessId=0
        text: BusinessName Name Description InvoiceLineDisplayAs Sku Tags CurrencyCode ImageFileName
        eSystemProductType: SystemProductType=0
        whole: DisplayOrder=0 CurrencyId=0 TaxRateId ReducedTaxRateId ExemptTaxRateId FinancialAccountId
        whole: CurrentStock StockAlertLevel
        price: Price=0.00000
        flag: Visible=true VisibleInKiosk OnlyForContacts OnlyForMembers Archived Starred TrackStock AllowNegativeStock
        flag: ApplyProRating InvoiceCoworker SyncToSquare SyncToNexKiosk CreateDeliveryWhenPurchased AvailableToAi
        eAvailableAs: AvailableAs=1
        list: Tariffs=[] AddedTariffs RemovedTariffs
        """
    ),
)

SALES = Entity(
    name="CoworkerProduct",
    module="billing",
    path="coworkerproducts",
    title="Product Sale",
    first_id=1_420_000_301,
    order="CreatedOn",
    required=_names("CoworkerId BusinessId ProductId Quantity"),
    read_only=_read_only(
        """CoworkerCoworkerType CoworkerFullName CoworkerCompanyName CoworkerBillingName CoworkerEmail ProductName
        ProductPrice ProductApplyProRating ProductCurrencyCode OrderNumber Activated UnitPrice TotalPrice RecurringTotal
        InvoicedOn FromTariff BookingUniqueId CoworkerContractUniqueId ContractDepositUniqueId ContractProductUniqueId
        CoworkerDeliveryUniqueId TeamsAtTheTimeOfPurchase"""
    ),
    fields=fields(
        """
        ref: CoworkerId=0
        text: CoworkerCoworkerType CoworkerFullName CoworkerCompanyName CoworkerBillingName CoworkerEmail
        ref: BusinessId=0 ProductId=0
        text: ProductName
        price: ProductPrice
        flag: ProductApplyProRating
        text: ProductCurrencyCode Notes PurchaseOrder OrderNumber
        flag: Activated ActivateNow InvoiceThisCoworker
        price: Price
        whole: Quantity=0
        flag: RegularCharge
        eRepeatCycle: RepeatCycle=1
        whole: RepeatUnit
        date: InvoiceOn RepeatFrom RepeatUntil SaleDate DueDate
        flag: Invoiced
        date: InvoicedOn
        flag: FromTariff
        text: BookingUniqueId
        flag: ApplyProRating
        text: CoworkerContractUniqueId ContractDepositUniqueId ContractProductUniqueId CoworkerDeliveryUniqueId
        whole: CoworkerInvoiceId
        text: CoworkerInvoiceNumber
        flag: CoworkerInvoicePaid
        text: TeamsAtTheTimeOfPurchase
        decimal: CreditAmount=0.0 DiscountAmount=0.0
        price: TotalPrice UnitPrice
        decimal: RecurringTotal=0.0
        """
    ),
)

INVOICES = Entity(
    name="CoworkerInvoice",
    module="billing",
    path="coworkerinvoices",
    title="Invoice",
    first_id=1_429_000_601,
    verbs=frozenset({"GET", "PUT"}),
    required=_names("CoworkerId BusinessId"),
    read_only=_read_only("CoworkerFullName BusinessName InvoiceNumber TotalAmount TaxAmount CurrencyCode DueAmount"),
    fields=fields(
        """
        ref: CoworkerId=0 BusinessId=0
        text: CoworkerFullName CoworkerTeamNames BusinessName InvoiceNumber PaymentReference PurchaseOrder Description
        decimal: TotalAmount=0.0 TaxAmount=0.0 DiscountAmount=0.0
        decimal: PaidAmount ReceivedAmount CreditedAmount RefundedAmount DueAmount
        whole: CurrencyId=0
        text: CurrencyCode OriginalInvoiceGuid BillToName
        flag: WaitingForInvoiceNumber Draft Void Sent Paid Refunded CreditNote DoNotApplyCreditAutomatically Billed
        date: SentOn PaidOn RefundedOn DueDate InvoiceFromDate InvoiceToDate LastPaymentAttempt
        """
    ),
)

INVOICE_LINES = Entity(
    name="CoworkerInvoiceLine",
    module="billing",
    path="coworkerinvoicelines",
    title="Invoice Line",
    first_id=1_457_000_501,
    verbs=frozenset({"GET", "PUT"}),
    required=_names("CoworkerInvoiceId"),
    fields=fields(
        """
        ref: CoworkerInvoiceId=0
        text: CoworkerInvoiceInvoiceNumber CoworkerInvoiceCurrencyCode
        date: CoworkerInvoiceDueDate CoworkerInvoicePaidOn SaleDate RefundedOn
        flag: CoworkerInvoicePaid CoworkerInvoiceCreditNote Refunded IsHidden IsUniversalCredit IsProratedContract
        text: Description DisplayAs DiscountCode TaxCategoryName PurchaseOrder CoworkerProductName TariffName
        text: CoworkerExtraServiceName CoworkerTimePassName FinancialAccountCode FinancialAccountName IssuedByUniqueId
        whole: Quantity=1 Position=1
        decimal: UnitPrice=0.0 SubTotal=0.0 TaxAmount=0.0 TaxRate=0.0 CreditAmount=0.0 DiscountAmount RefundedAmount
        text: CoworkerProductUniqueId CoworkerExtraServiceUniqueId CoworkerChargeUniqueId BookingUniqueId
        text: CoworkerContractUniqueId ContractDepositUniqueId CoworkerTimePassUniqueId EventAttendeeUniqueId
        text: GroupedLineUniqueId CancelledCoworkerInvoiceLineUniqueId
        """
    ),
)

BUSINESSES = Entity(
    name="Business",
    module="sys",
    path="businesses",
    title="Location",
    first_id=1_420_000_011,
    verbs=frozenset({"GET", "PUT"}),
    required=_names("Name"),
    fields=fields(
        """
        text: Name WebAddress DefaultLanguage="en" CurrencyCode="EUR"
        whole: RootLocationId CurrencyId=3003 SimpleTimeZoneId=2023 CountryId=1220
        """
    ),
)

USERS = Entity(
    name="User",
    module="sys",
    path="users",
    title="User",
    first_id=1_410_000_001,
    verbs=frozenset({"GET"}),
    fields=fields(
        """
        text: FullName Email
        flag: IsAdmin APIAccess Active=true
        """
    ),
)

TEAMS = Entity(
    name="Team",
    module="spaces",
    path="teams",
    title="Team",
    first_id=1_416_000_051,
    order="Name",
    required=_names("BusinessId Name"),
    read_only=_read_only(
        """BusinessName PayingMemberFullName PayingMemberBillingName PayingMemberCompanyName PayingMemberCoworkerType
        CoworkerIds CoworkerFullNames CoworkerBillingNames ActiveContracts DefaultMemberTariffName"""
    ),
    fields=fields(
        """
        ref: BusinessId=0
        text: BusinessName Name Description
        ref: PayingMemberId
        text: PayingMemberFullName PayingMemberBillingName PayingMemberCompanyName PayingMemberCoworkerType
        flag: CreateSingleInvoiceForTeam TransferCreditsToPayingMember UseSpecialPrices
        flag: ShareExtraServices ShareBookingCredit ShareTimePasses
        decimal: DiscountCharges DiscountExtraServices DiscountTariffs DiscountTimePasses
        text: CoworkerIds CoworkerFullNames CoworkerBillingNames
        list: TeamMembers=[] AddedTeamMembers RemovedTeamMembers
        list: TeamAdministrators=[] AddedTeamAdministrators RemovedTeamAdministrators
        list: ExtraServices=[] AddedExtraServices RemovedExtraServices
        whole: ActiveContracts=0 MaxTeamMemberCount DefaultMemberTariffId
        text: DefaultMemberTariffName TunnelPrivateGroupId ProfileSummary ProfileTags ProfileWebsite
        flag: ProfileIsPublic HasCommunityGroup DisableAttendanceDashboard
        """
    ),
)

ENTITIES = (BUSINESSES, USERS, PRODUCTS, EXTRA_SERVICES, COWORKERS, TEAMS, CREDITS, SALES, INVOICES, INVOICE_LINES)
"""In the order in which a world is built: what others refer to comes first."""
