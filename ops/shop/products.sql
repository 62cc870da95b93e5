CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT, price TEXT, stock INTEGER, changed INTEGER);
INSERT INTO products VALUES
    (1, 'Birds of the Estuary', '29.90', 140, 1),
    (2, 'Mosses and Liverworts', '34.50', 61, 2),
    (3, 'Night Butterflies', '27.00', 0, 3);
CREATE TRIGGER products_changed AFTER UPDATE OF name, price, stock ON products BEGIN
    UPDATE products SET changed = (SELECT max(changed) + 1 FROM products) WHERE id = new.id;
END;
