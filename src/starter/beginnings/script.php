<?php
// A CGI script: it greets whoever gives a name.
header('Content-Type: text/html; charset=utf-8');
$name = $_POST['name'] ?? $_GET['name'] ?? 'world';
?>
<!DOCTYPE html>
<title>Hello</title>
<h1>Hello, <?= htmlspecialchars($name) ?>!</h1>
<form method="post"><input name="name" placeholder="Your name"> <button>Say it</button></form>
