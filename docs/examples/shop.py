"""Makes shop.csv, the tutorial's data: what 300 customers of a department store bought in a year. No shop's real data.

    python docs/examples/shop.py docs/examples/shop.csv

A customer has one department that most baskets are from, sometimes a second one, and buys anything now and then. What
belongs together is bought one after the other: products that stand side by side below.
"""

import csv
import random
import sys
from datetime import datetime, timedelta
from pathlib import Path

SEED = 7
N_CUSTOMERS = 300
FIRST_DAY = datetime(2024, 1, 2, 9, 0)
LAST_DAY = datetime(2024, 12, 23, 18, 0)
MAIN_SHARE, SECOND_SHARE = 0.78, 0.12  # of a customer's purchases; the rest are of any department
NEXT_SHARE = 0.55  # of the purchases in a department follow the one before
COLUMNS = ("bought_at", "customer", "sku", "product", "department", "quantity", "price")

DEPARTMENTS = {
    "Baking": """Bread flour 1 kg; Dried yeast sachets; Proving basket; Bread lame; Cast iron loaf tin; Rye flour 1 kg;
        Sourdough starter jar; Dough scraper; Cake tin 20 cm; Springform tin 26 cm; Cake turntable; Palette knife;
        Piping bags; Star nozzle set; Icing sugar; Food colouring gels; Cupcake cases; Muffin tray; Silicone spatula;
        Mixing bowl set; Digital kitchen scale; Rolling pin; Cookie cutters; Baking parchment; Cooling rack""",
    "Garden": """Tomato seeds; Basil seeds; Seed trays; Seed compost 10 l; Propagator lid; Plant labels; Dibber;
        Potting mix 40 l; Terracotta pot 15 cm; Terracotta pot 30 cm; Bamboo canes; Garden twine; Hand trowel;
        Hand fork; Secateurs; Gardening gloves; Kneeling pad; Watering can; Garden hose 20 m; Hose nozzle;
        Tomato feed; Slug barrier tape; Lawn rake; Leaf sacks; Bird feeder""",
    "Office": """A4 paper 500 sheets; Printer ink black; Printer ink colour; Ballpoint pens blue; Gel pens black;
        Highlighters; Mechanical pencils; Pencil leads 0.5 mm; Eraser; Ruled notebook A5; Dotted notebook A5;
        Sticky notes; Index cards; Ring binder; Punched pockets; Hole punch; Stapler; Staples; Paper clips; Desk tray;
        Desk lamp; Monitor stand; Wrist rest; Whiteboard markers; Envelopes C5""",
    "Baby": """Newborn nappies; Baby wipes; Nappy cream; Changing mat; Nappy bin; Nappy bin refills; Baby bath;
        Hooded towel; Baby shampoo; Muslin cloths; Bibs; Feeding bottles; Bottle brush; Bottle warmer;
        Steam steriliser; Dummies; Teething ring; Weaning spoons; Baby bowls; High chair cushion;
        Sleeping bag 0-6 months; Night light; Baby monitor; Crib mobile; Stacking cups""",
    "Camping": """Two person tent; Tent pegs; Guy ropes; Ground sheet; Sleeping mat; Sleeping bag 3 season;
        Inflatable pillow; Head torch; Camping lantern;
        Batteries AAA; Gas stove; Gas cartridge; Camping pots; Spork; Enamel mug;
        Water canister 10 l; Water filter; Dry bag; Rucksack 50 l; Rain cover; Trekking poles; First aid kit;
        Insect repellent; Folding chair; Cool box""",
    "Coffee": """Espresso beans 1 kg; Filter beans 500 g; Burr grinder; Grinder brush; Coffee scale; Gooseneck kettle;
        Paper filters; Pour over dripper; Glass server; Moka pot; French press; Aeropress; Aeropress filters;
        Portafilter basket; Tamper; Tamping mat; Knock box; Milk jug; Milk thermometer; Espresso cups; Latte glasses;
        Descaler; Cleaning tablets; Cold brew bottle; Coffee canister""",
}


def products() -> dict[str, list[tuple[str, str]]]:
    """Stock number and name of each department's products; the numbers do not tell the department."""
    named = {
        department: [" ".join(name.split()) for name in names.split(";")] for department, names in DEPARTMENTS.items()
    }
    numbers = list(range(20_000, 20_000 + sum(map(len, named.values()))))
    random.Random(SEED).shuffle(numbers)  # noqa: S311 - data, no secret
    taken = iter(numbers)
    return {department: [(str(next(taken)), name) for name in names] for department, names in named.items()}


def purchases() -> list[tuple[str, ...]]:
    """The rows of the file, in the order of their times."""
    rng = random.Random(SEED)  # noqa: S311 - data, no secret
    shelves = products()
    rows = []
    for number in range(N_CUSTOMERS):
        rows += _of_customer(f"C{1001 + number}", shelves, rng)
    return sorted(rows)


def _of_customer(customer: str, shelves: dict[str, list[tuple[str, str]]], rng: random.Random) -> list[tuple[str, ...]]:
    main, second = rng.sample(sorted(shelves), 2)
    last: dict[str, int] = {}
    bought: set[str] = set()
    rows = []
    for moment in _moments(rng):
        department = _department(main, second, sorted(shelves), rng)
        place = _place(last.get(department), len(shelves[department]), rng)
        last[department] = place
        sku, name = shelves[department][place]
        if sku not in bought:
            bought.add(sku)
            price = 2 + (place * 7 + len(name)) % 40 + 0.95
            rows.append(
                (f"{moment:%Y-%m-%d %H:%M}", customer, sku, name, department, str(rng.randint(1, 3)), f"{price:.2f}")
            )
    return rows


def _moments(rng: random.Random) -> list[datetime]:
    seconds = int((LAST_DAY - FIRST_DAY).total_seconds())
    n_purchases = rng.randint(9, 22)
    return sorted(FIRST_DAY + timedelta(seconds=rng.randrange(seconds)) for _ in range(n_purchases))


def _department(main: str, second: str, departments: list[str], rng: random.Random) -> str:
    draw = rng.random()
    if draw < MAIN_SHARE:
        return main
    return second if draw < MAIN_SHARE + SECOND_SHARE else rng.choice(departments)


def _place(last: int | None, n_products: int, rng: random.Random) -> int:
    """The product after the last one, or any, the first ones more often."""
    if last is not None and rng.random() < NEXT_SHARE:
        return (last + rng.randint(1, 2)) % n_products
    return min(int(rng.expovariate(1 / 9)), n_products - 1)


def main(path: Path) -> None:
    """Write the file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(purchases())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
